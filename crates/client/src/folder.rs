//! The client's folder: state on disk, written atomically, one command at a time.

/// The client's folder, locked.
pub struct Folder {
    _private: (),
}
