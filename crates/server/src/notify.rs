//! Tells a service manager how far the server is (sd_notify(3)): a datagram of lines to the socket that
//! `NOTIFY_SOCKET` names. Without it nothing is said.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// Serving.
pub fn ready() {
    say("READY=1\n");
}

/// Ending.
pub fn stopping() {
    say("STOPPING=1\n");
}

/// Reading the certificate again; [`ready`] follows. The time lets systemd tell this reload from an older one.
pub(crate) fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
    say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
}

fn say(text: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    if let Err(error) = send(path.as_encoded_bytes(), text) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

fn send(path: &[u8], text: &str) -> io::Result<()> {
    // `@` is how an abstract name is written.
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => {
            SocketAddr::from_pathname(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path))?
        }
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not listen must not stop the mail.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tells_sockets_with_a_path_and_abstract_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut buffer = [0; 64];
        send(path.as_os_str().as_encoded_bytes(), "READY=1\n").unwrap();
        let n = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"READY=1\n");
        let name = format!("sealpost-test-{}", std::process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        send(format!("@{name}").as_bytes(), "STOPPING=1\n").unwrap();
        let n = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"STOPPING=1\n");
        send(b"/no/such/socket", "READY=1\n").unwrap_err();
    }
}
