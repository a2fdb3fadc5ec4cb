//! What a crash leaves. Between a write and the sync behind it each sector of 512 octets may be there or not, whatever
//! became of the others, and so may each length of the file; a name that was made or taken away may be so or not before
//! its folder was synced. After a failed sync the system takes the pages for clean: what had not reached the disk does
//! not reach it any more, unless its page is written again (this is what Linux does).

use super::log::{Call, Kind, Record, class};
use crate::rng::Rng;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
};

const SECTOR: usize = 512;
/// Sectors of a page.
const PAGE: usize = 8;

#[derive(Debug, Clone, Default)]
struct Content {
    /// What programs read.
    cache: Vec<u8>,
    /// What a crash cannot take.
    durable: Vec<u8>,
    durable_len: usize,
    /// For each sector what was written since, oldest first.
    pending: BTreeMap<usize, Vec<Box<[u8]>>>,
    /// Lengths since.
    lengths: Vec<usize>,
    /// Sectors of the cache that the system takes for written, and that are not.
    lost: BTreeSet<usize>,
}

impl Content {
    fn sector(&self, at: usize) -> Box<[u8]> {
        let mut sector = vec![0; SECTOR].into_boxed_slice();
        let from = at * SECTOR;
        if from < self.cache.len() {
            let bytes = &self.cache[from..self.cache.len().min(from + SECTOR)];
            sector[..bytes.len()].copy_from_slice(bytes);
        }
        sector
    }

    fn touch(&mut self, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let (first, last) = (from / SECTOR, (to - 1) / SECTOR);
        let again: Vec<usize> = self
            .lost
            .range((first / PAGE * PAGE)..((last / PAGE + 1) * PAGE))
            .copied()
            .filter(|at| !(first..=last).contains(at))
            .collect();
        for at in (first..=last).chain(again) {
            self.lost.remove(&at);
            let sector = self.sector(at);
            self.pending.entry(at).or_default().push(sector);
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len();
        if end > self.cache.len() {
            self.cache.resize(end, 0);
            self.lengths.push(end);
        }
        self.cache[offset..end].copy_from_slice(data);
        self.touch(offset, end);
    }

    fn truncate(&mut self, len: usize) {
        let before = self.cache.len();
        self.cache.resize(len, 0);
        self.lengths.push(len);
        // What was cut off must not come back when the file grows again.
        self.touch(len, before);
    }

    fn sync(&mut self) {
        for (at, versions) in std::mem::take(&mut self.pending) {
            if let Some(last) = versions.last() {
                put(&mut self.durable, at, last);
            }
        }
        self.lengths.clear();
        self.durable_len = self.cache.len();
    }

    fn failed_sync(&mut self, rng: &mut Rng) {
        for (at, versions) in std::mem::take(&mut self.pending) {
            let reached = rng.below(versions.len() + 1);
            if reached > 0 {
                put(&mut self.durable, at, &versions[reached - 1]);
            }
            if reached < versions.len() {
                self.lost.insert(at);
            }
        }
    }

    fn after_crash(&self, rng: &mut Rng) -> Vec<u8> {
        let mut left = self.durable.clone();
        let all = rng.below(4);
        for (at, versions) in &self.pending {
            let reached = match all {
                0 => 0,
                1 => versions.len(),
                _ => rng.below(versions.len() + 1),
            };
            if reached > 0 {
                put(&mut left, *at, &versions[reached - 1]);
            }
        }
        let len = match (all, self.lengths.as_slice()) {
            (_, []) | (0, _) => self.durable_len,
            (1, lengths) => lengths[lengths.len() - 1],
            (_, lengths) => match rng.below(lengths.len() + 1) {
                0 => self.durable_len,
                n => lengths[n - 1],
            },
        };
        left.resize(len, 0);
        left
    }
}

fn put(octets: &mut Vec<u8>, at: usize, sector: &[u8]) {
    let end = (at + 1) * SECTOR;
    if octets.len() < end {
        octets.resize(end, 0);
    }
    octets[at * SECTOR..end].copy_from_slice(sector);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

#[derive(Debug, Clone, Default)]
struct Folder {
    durable: BTreeMap<String, Node>,
    now: BTreeMap<String, Node>,
    /// For each name what it became since, oldest first.
    pending: BTreeMap<String, Vec<Option<Node>>>,
}

impl Folder {
    fn set(&mut self, name: &str, node: Option<Node>) {
        match node {
            Some(node) => self.now.insert(name.to_owned(), node),
            None => self.now.remove(name),
        };
        self.pending.entry(name.to_owned()).or_default().push(node);
    }
    fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.now);
    }
    fn after_crash(&self, rng: &mut Rng) -> BTreeMap<String, Node> {
        let mut left = self.durable.clone();
        let all = rng.below(4);
        for (name, versions) in &self.pending {
            let reached = match all {
                0 => 0,
                1 => versions.len(),
                _ => rng.below(versions.len() + 1),
            };
            match reached.checked_sub(1).map(|at| versions[at]) {
                Some(Some(node)) => {
                    left.insert(name.clone(), node);
                }
                Some(None) => {
                    left.remove(name);
                }
                None => {}
            }
        }
        left
    }
}

/// The disk at one moment: what programs see, and what is safe.
#[derive(Debug, Clone)]
pub struct Image {
    files: Vec<Content>,
    folders: BTreeMap<String, Folder>,
    /// The system's number of a file to ours: numbers are used again.
    numbers: HashMap<u64, usize>,
}

impl Default for Image {
    fn default() -> Self {
        let folders = BTreeMap::from([(String::new(), Folder::default())]);
        Self { files: Vec::new(), folders, numbers: HashMap::new() }
    }
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

impl Image {
    fn set(&mut self, name: &str, node: Option<Node>) {
        let (folder, name) = split(name);
        self.folders.entry(folder.to_owned()).or_default().set(name, node);
    }

    fn node(&self, name: &str) -> Option<Node> {
        let (folder, name) = split(name);
        self.folders.get(folder)?.now.get(name).copied()
    }

    /// Takes in what happened next. Chance decides what a failed sync had written.
    pub fn apply(&mut self, record: &Record, rng: &mut Rng) {
        // Files here are small.
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let number = self.numbers.get(&record.file).copied();
        match record.call {
            Call::Sync if record.class == class::FOLDER => {
                if record.kind.is_none()
                    && let Some(folder) = self.folders.get_mut(&record.name)
                {
                    folder.sync();
                }
            }
            Call::Sync => {
                let Some(file) = number.map(|number| &mut self.files[number]) else { return };
                match record.kind {
                    None => file.sync(),
                    Some(Kind::Lies) => {}
                    Some(_) if record.error == super::INTERRUPTED => {}
                    Some(_) => file.failed_sync(rng),
                }
            }
            Call::Write => {
                if let Some(number) = number {
                    self.files[number].write(at(record.offset), &record.data);
                }
            }
            _ if record.error != 0 => {}
            Call::Create => {
                self.files.push(Content::default());
                let number = self.files.len() - 1;
                self.numbers.insert(record.file, number);
                self.set(&record.name, Some(Node::File(number)));
            }
            Call::Truncate => {
                if let Some(number) = number {
                    self.files[number].truncate(at(record.offset));
                }
            }
            Call::Link => {
                let node = self.node(&record.name);
                self.set(&record.second, node);
            }
            Call::Unlink => self.set(&record.name, None),
            Call::Rename => {
                let node = self.node(&record.name);
                self.set(&record.second, node);
                self.set(&record.name, None);
            }
            Call::MakeFolder => {
                self.folders.insert(record.name.clone(), Folder::default());
                self.set(&record.name, Some(Node::Folder));
            }
            Call::Read => {}
        }
    }

    /// A disk that holds what is below `path`, all of it safe.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        image.take_in("", path)?;
        Ok(image)
    }

    fn take_in(&mut self, name: &str, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let child = entry.file_name().to_string_lossy().into_owned();
            let whole = format!("{name}/{child}");
            let node = if entry.file_type()?.is_dir() {
                self.folders.insert(whole.clone(), Folder::default());
                self.take_in(&whole, &entry.path())?;
                Node::Folder
            } else {
                let octets = fs::read(entry.path())?;
                let content = Content {
                    durable_len: octets.len(),
                    durable: octets.clone(),
                    cache: octets,
                    ..Content::default()
                };
                self.files.push(content);
                self.numbers.insert(entry.metadata()?.ino(), self.files.len() - 1);
                Node::File(self.files.len() - 1)
            };
            let folder = self.folders.entry(name.to_owned()).or_default();
            folder.now.insert(child.clone(), node);
            folder.durable.insert(child, node);
        }
        Ok(())
    }

    /// The same files under the system's new numbers: [`Image::kill`] has written them below `path`.
    pub fn renumber(&mut self, path: &Path) -> io::Result<()> {
        self.numbers.clear();
        for (name, folder) in &self.folders {
            for (child, node) in &folder.now {
                if let Node::File(number) = node {
                    let ino = fs::metadata(path.join(name.trim_start_matches('/')).join(child))?.ino();
                    self.numbers.insert(ino, *number);
                }
            }
        }
        Ok(())
    }

    /// Writes what a crash of the machine leaves, as chance will have it, below `target`.
    pub fn crash(&self, rng: &mut Rng, target: &Path) -> io::Result<()> {
        self.write_folder("", target, &mut HashMap::new(), Some(rng))
    }

    /// Writes what the end of the process alone leaves: everything.
    pub fn kill(&self, target: &Path) -> io::Result<()> {
        self.write_folder("", target, &mut HashMap::new(), None)
    }

    fn write_folder(
        &self,
        name: &str,
        target: &Path,
        // A file with two names has one content.
        done: &mut HashMap<usize, Vec<u8>>,
        mut chance: Option<&mut Rng>,
    ) -> io::Result<()> {
        let Some(folder) = self.folders.get(name) else { return Ok(()) };
        let children = match &mut chance {
            Some(rng) => folder.after_crash(rng),
            None => folder.now.clone(),
        };
        for (child, node) in children {
            let path = target.join(&child);
            match node {
                Node::File(number) => {
                    let file = &self.files[number];
                    let octets = done.entry(number).or_insert_with(|| match &mut chance {
                        Some(rng) => file.after_crash(rng),
                        None => file.cache.clone(),
                    });
                    fs::write(&path, octets)?;
                }
                Node::Folder => {
                    fs::create_dir(&path)?;
                    self.write_folder(&format!("{name}/{child}"), &path, done, chance.as_deref_mut())?;
                }
            }
        }
        Ok(())
    }
}
