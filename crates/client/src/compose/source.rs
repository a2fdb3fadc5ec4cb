//! Where the octets of a message come from: memory, sealed octets in a spool, or a file that is encoded as it is read.

use super::ComposeError;
use crate::{
    spool::{Spool, SpoolReader},
    staged::Staged,
};
use sealpost_proto::message::write;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// Octets read at once from a file or spool; a multiple of 57, which makes one line of base64.
const CHUNK_OCTETS: usize = 57 * 1024;

/// A file to attach, or what was a part of another message.
pub(super) struct Attachment {
    source: Source,
    pub(super) name: String,
    size: u64,
    /// SHA-256 of the content when it was first read: every copy must be made of the same octets.
    digest: OnceLock<[u8; 32]>,
}

enum Source {
    File(PathBuf),
    Aside(Staged),
}

impl Attachment {
    pub(super) fn file(path: PathBuf) -> Result<Self, ComposeError> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !write::is_header_text(&name) {
            return Err(ComposeError::Control("name of an attachment"));
        }
        let metadata =
            std::fs::metadata(&path).map_err(|e| ComposeError::Attachment(path.display().to_string(), e))?;
        if !metadata.is_file() {
            let e = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
            return Err(ComposeError::Attachment(path.display().to_string(), e));
        }
        let size = metadata.len();
        Ok(Self { source: Source::File(path), name, size, digest: OnceLock::new() })
    }

    pub(super) fn aside(name: String, octets: Staged) -> Self {
        let size = octets.size();
        Self { source: Source::Aside(octets), name, size, digest: OnceLock::new() }
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.source {
            Source::File(path) => Box::new(File::open(path)?),
            Source::Aside(octets) => octets.reader()?,
        })
    }

    /// Octets in base64 lines with their CRLFs.
    pub(super) fn encoded_size(&self) -> u64 {
        let line = 57;
        let (lines, rest) = (self.size / line, self.size % line);
        lines * 78 + if rest == 0 { 0 } else { rest.div_ceil(3) * 4 + 2 }
    }
}

/// A run of octets of a message.
#[derive(Clone)]
pub(super) enum Segment {
    Octets(Arc<[u8]>),
    /// Encoded in base64 as it is read.
    File(Arc<Attachment>),
    Sealed(Arc<Spool>),
    /// A message as handed over, from its body on.
    Body(Staged, u64),
}

impl Segment {
    pub(super) fn octets(octets: impl Into<Vec<u8>>) -> Self {
        Self::Octets(octets.into().into())
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Octets(octets) => octets.len() as u64,
            Self::File(file) => file.encoded_size(),
            Self::Sealed(spool) => spool.size(),
            Self::Body(staged, at) => staged.size() - at,
        }
    }
}

/// Reads segments one after the other.
pub(super) struct SegmentReader {
    segments: Vec<Segment>,
    next: usize,
    current: Current,
    /// What is ready to be handed out, and how much of it was.
    buffer: Vec<u8>,
    taken: usize,
}

enum Current {
    None,
    File { attachment: Arc<Attachment>, file: Box<dyn Read + Send>, hash: Sha256 },
    Octets(Box<dyn Read + Send>),
}

impl SegmentReader {
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        Self { segments, next: 0, current: Current::None, buffer: Vec::new(), taken: 0 }
    }

    /// Fills the empty buffer; leaves it empty only at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.taken = 0;
        while self.buffer.is_empty() {
            match &mut self.current {
                Current::None => {
                    let Some(segment) = self.segments.get(self.next) else { return Ok(()) };
                    self.next += 1;
                    match segment {
                        Segment::Octets(octets) => self.buffer.extend_from_slice(octets),
                        Segment::File(attachment) => {
                            let attachment = attachment.clone();
                            let file = attachment.open().map_err(|e| {
                                ComposeError::Attachment(attachment.name.clone(), e).into_io()
                            })?;
                            self.current = Current::File { attachment, file, hash: Sha256::new() };
                        }
                        Segment::Sealed(spool) => {
                            self.current = Current::Octets(Box::new(SpoolReader::new(spool.clone())));
                        }
                        Segment::Body(staged, at) => self.current = Current::Octets(staged.reader_at(*at)?),
                    }
                }
                Current::File { attachment, file, hash } => {
                    let mut chunk = Vec::with_capacity(CHUNK_OCTETS);
                    file.take(CHUNK_OCTETS as u64)
                        .read_to_end(&mut chunk)
                        .map_err(|e| ComposeError::Attachment(attachment.name.clone(), e).into_io())?;
                    if chunk.is_empty() {
                        let digest: [u8; 32] = hash.finalize_reset().into();
                        if *attachment.digest.get_or_init(|| digest) != digest {
                            return Err(ComposeError::Changed(attachment.name.clone()).into_io());
                        }
                        self.current = Current::None;
                    } else {
                        hash.update(&chunk);
                        self.buffer = write::base64_lines(&chunk).into_bytes();
                    }
                }
                Current::Octets(reader) => {
                    self.buffer.resize(CHUNK_OCTETS, 0);
                    let n = reader.read(&mut self.buffer)?;
                    self.buffer.truncate(n);
                    if n == 0 {
                        self.current = Current::None;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Read for SegmentReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.buffer.len() {
            self.fill()?;
        }
        let n = (&self.buffer[self.taken..]).read(out)?;
        self.taken += n;
        Ok(n)
    }
}
