//! What was asked of the disk, as `disk/calls.c` notes it.

/// What a program did. The numbers are those of `disk/calls.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// A file was made.
    Create = 1,
    /// Octets were written.
    Write,
    /// A file got another length.
    Truncate,
    /// A file or folder was synced.
    Sync,
    /// A second name.
    Link,
    /// A name was taken away.
    Unlink,
    /// A name was changed.
    Rename,
    /// A folder was made.
    MakeFolder,
    /// Octets were read (noted where that failed).
    Read,
}

impl Call {
    /// As the mask of `fault`.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }
    fn from(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Create,
            2 => Self::Write,
            3 => Self::Truncate,
            4 => Self::Sync,
            5 => Self::Link,
            6 => Self::Unlink,
            7 => Self::Rename,
            8 => Self::MakeFolder,
            9 => Self::Read,
            _ => return None,
        })
    }
}

/// What it did it to.
pub mod class {
    /// `store.db`.
    pub const DATABASE: u32 = 1;
    /// `store.db-wal`.
    pub const LOG: u32 = 2;
    /// Objects, and bodies being received.
    pub const OBJECT: u32 = 4;
    /// Folders.
    pub const FOLDER: u32 = 8;
    /// The rest (`lock`).
    pub const OTHER: u32 = 16;
    /// All of them.
    pub const ALL: u32 = 31;
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It does nothing and returns an error.
    Fails = 1,
    /// A write that writes half.
    Short,
    /// A sync that says yes and does nothing.
    Lies,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub call: Call,
    /// To what kind of file: one bit of [`class`].
    pub class: u32,
    /// How it was made to go wrong.
    pub kind: Option<Kind>,
    /// The error it returned, or 0.
    pub error: i32,
    /// The file, as the system numbers it.
    pub file: u64,
    /// Where, or the new length.
    pub offset: u64,
    /// The name below the disk's root.
    pub name: String,
    /// The second name of [`Call::Link`] and [`Call::Rename`].
    pub second: String,
    /// Octets that were written.
    pub data: Vec<u8>,
}

impl Record {
    /// One line without what differs from run to run (numbers of files, random names).
    pub fn line(&self) -> String {
        let name = |name: &str| {
            let keep = if name.contains("/tmp/") { 11 } else { 19 };
            name.chars().take(keep).collect::<String>()
        };
        format!(
            "{:?} {} {} +{} {} {:?} {}",
            self.call,
            name(&self.name),
            self.offset,
            self.data.len(),
            name(&self.second),
            self.kind,
            self.error
        )
    }
}

const HEAD: usize = 56;

/// Takes the whole records from the front of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Vec<Record> {
    let mut all = Vec::new();
    let mut at = 0;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four octets"));
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight octets"));
    while bytes.len() >= at + HEAD {
        let lengths = [40, 44, 48].map(|field| word(at + field) as usize);
        let mut from = at + HEAD;
        let [name, second, data] = lengths.map(|len| {
            from += len;
            &bytes[from - len..from]
        });
        all.push(Record {
            call: Call::from(word(at)).expect("a known call"),
            class: word(at + 4),
            kind: match word(at + 8) {
                0 => None,
                1 => Some(Kind::Fails),
                2 => Some(Kind::Short),
                _ => Some(Kind::Lies),
            },
            error: i32::from_le_bytes(bytes[at + 12..at + 16].try_into().expect("four octets")),
            file: long(at + 16),
            offset: long(at + 24),
            name: String::from_utf8_lossy(name).into_owned(),
            second: String::from_utf8_lossy(second).into_owned(),
            data: data.to_vec(),
        });
        at = from;
    }
    all
}
