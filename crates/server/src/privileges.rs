//! From root to a user of its own: after what needs root (ports below 1024, the private key), before anything from
//! the network is read.

use nix::unistd::{Gid, Uid, User};
use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Why the change of user was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// Not in the user database.
    #[error("there is no user `{0}`; make it (useradd --system {0}) or correct `user` in the configuration")]
    NoUser(String),
    /// `user` names root.
    #[error("`user` in the configuration must not be root; name a user that owns nothing but the mail")]
    Root,
    /// A process that is neither root nor that user already.
    #[error(
        "this process runs as user number {have} and cannot become `{want}`; start it as root or as `{want}`"
    )]
    NotRoot {
        /// User number of the process.
        have: u32,
        /// Name in the configuration.
        want: String,
    },
    /// A system call.
    #[error("could not {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Reason.
        source: io::Error,
    },
    /// The new user could become root again.
    #[error("the rights of root could not be given up for good; nothing was started")]
    StillRoot,
    /// The store belongs to somebody else.
    #[error(
        "{path} belongs to user number {owner}, but the server runs as {uid}; chown -R it to the server's user"
    )]
    Owner {
        /// The data folder, or a file in it.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
}

fn system(what: &'static str) -> impl Fn(io::Error) -> PrivilegeError {
    move |source| PrivilegeError::System { what, source }
}

fn find(name: &str) -> Result<User, PrivilegeError> {
    let found = User::from_name(name).map_err(|e| system("look the user up")(e.into()))?;
    found.ok_or_else(|| PrivilegeError::NoUser(name.to_owned()))
}

/// Becomes `name`, for good, with its group alone; the data folder is made for it if it is not there. As that user
/// already: nothing to do. libc changes all threads of the process.
pub fn become_user(name: &str, data_dir: &Path) -> Result<(), PrivilegeError> {
    let user = find(name)?;
    if user.uid.is_root() {
        return Err(PrivilegeError::Root);
    }
    if Uid::effective() == user.uid && Uid::current() == user.uid {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        return Err(PrivilegeError::NotRoot { have: Uid::effective().as_raw(), want: name.to_owned() });
    }
    if !data_dir.exists() {
        make_for(&user, data_dir)?;
    }
    // Groups first: without root they could not be changed any more.
    nix::unistd::setgroups(&[]).map_err(|e| system("clear the supplementary groups")(e.into()))?;
    set_ids(user.gid, user.uid)?;
    if Uid::current().is_root() || Uid::effective().is_root() || nix::unistd::setuid(Uid::from_raw(0)).is_ok()
    {
        return Err(PrivilegeError::StillRoot);
    }
    Ok(())
}

/// Real, effective and saved ids: no way back.
fn set_ids(gid: Gid, uid: Uid) -> Result<(), PrivilegeError> {
    nix::unistd::setresgid(gid, gid, gid).map_err(|e| system("change the group")(e.into()))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(|e| system("change the user")(e.into()))
}

/// The data folder is what only root can make where it usually lies.
fn make_for(user: &User, data_dir: &Path) -> Result<(), PrivilegeError> {
    let failed = system("make the data folder");
    if let Some(parent) = data_dir.parent() {
        std::fs::create_dir_all(parent).map_err(&failed)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(data_dir).map_err(&failed)?;
    nix::unistd::chown(data_dir, Some(user.uid), Some(user.gid))
        .map_err(|e| system("give the data folder to its user")(e.into()))
}

/// That the data folder and the store in it are ours: a clear error now instead of a strange one at the first write.
pub fn check_owner(data_dir: &Path) -> Result<(), PrivilegeError> {
    let uid = Uid::effective();
    for path in [data_dir.to_owned(), data_dir.join("store.db"), data_dir.join("lock")] {
        match std::fs::metadata(&path) {
            Ok(found) if found.uid() != uid.as_raw() && !uid.is_root() => {
                return Err(PrivilegeError::Owner { path, owner: found.uid(), uid: uid.as_raw() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system("look at the data folder")(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn users_that_cannot_be_are_refused_before_anything_changes() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let refused = become_user("no-such-user-here", &data).unwrap_err();
        assert!(matches!(refused, PrivilegeError::NoUser(_)), "{refused}");
        assert!(matches!(become_user("root", &data), Err(PrivilegeError::Root)));
        assert!(!data.exists());
    }
}
