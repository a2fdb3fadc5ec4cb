//! Who sends slowly, and who does not read. How long they may is measured on a paused clock in
//! `crates/server/tests/it`; here, what they cost meanwhile.

use super::{Loaded, MIB};
use crate::server::{ALICE, Client};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

#[test]
fn slow_senders_hold_little() {
    const SENDERS: usize = 100;
    let loaded = Loaded::new("limits.sessions_per_address = 0\n");
    let address = loaded.server.address("smtp");
    // Half a message each: below what goes to a file, and above.
    let mut senders: Vec<Client> = (0..SENDERS)
        .map(|n| {
            let mut client = Client::greeted(address, "220 ");
            assert!(client.envelope(ALICE).starts_with("250"));
            assert!(client.smtp("DATA").starts_with("354"));
            let lines = "x\r\n".repeat(if n % 2 == 0 { 40_000 } else { 400_000 });
            client.send(format!("Subject: slow\r\n\r\n{lines}"));
            client
        })
        .collect();
    loaded.check("100 messages half-way");
    // Octet by octet; others are served.
    for _ in 0..20 {
        for sender in &mut senders {
            sender.send("y");
        }
        assert!(loaded.server.smtp().smtp("NOOP").starts_with("250"));
    }
    loaded.check("100 messages that trickle in");
    for sender in &mut senders {
        assert!(sender.smtp("\r\n.").starts_with("250"), "and each comes to its end");
    }
    assert_eq!(loaded.messages(), SENDERS + 1);
    assert_eq!(loaded.spooled(), (0, 0));
}

#[test]
fn messages_given_up_half_way_leave_nothing() {
    let loaded = Loaded::new("");
    let lines = "x\r\n".repeat(400_000);
    let mut smtp = loaded.server.smtp();
    assert!(smtp.envelope(ALICE).starts_with("250"));
    assert!(smtp.smtp("DATA").starts_with("354"));
    smtp.send(format!("Subject: half\r\n\r\n{lines}"));
    let mut imap = loaded.server.alice(&loaded.setup);
    imap.send(format!("a APPEND INBOX {{{}+}}\r\n{lines}", 64 * MIB));
    crate::support::eventually("two files", || (loaded.spooled().0 == 2).then_some(()));
    drop((smtp, imap));
    crate::support::eventually("their end", || (loaded.spooled().0 == 0).then_some(()));
    assert_eq!(loaded.messages(), 1);
}

/// Sends `octets` again and again until the server takes no more; it reads nothing.
fn push(address: SocketAddr, octets: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket");
    for _ in 0..(512 * MIB / octets.len()) {
        if socket.write_all(octets).is_err() {
            return socket;
        }
    }
    panic!("the server takes commands without end from a client that reads nothing");
}

#[test]
fn clients_that_never_read_hold_nothing_back() {
    let loaded = Loaded::new("limits.sessions_per_address = 0\n");
    let (smtp, imap) = (loaded.server.address("smtp"), loaded.server.address("imap"));
    let mut deaf: Vec<TcpStream> = std::thread::scope(|scope| {
        let smtp = (0..10).map(|_| scope.spawn(move || push(smtp, "EHLO x\r\n".repeat(8192).as_bytes())));
        let imap =
            (0..10).map(|_| scope.spawn(move || push(imap, "a CAPABILITY\r\n".repeat(8192).as_bytes())));
        let all: Vec<_> = smtp.chain(imap).collect();
        all.into_iter().map(|one| one.join().expect("it stops by itself")).collect()
    });
    loaded.check("20 clients that never read");
    // A mailbox of 200 messages, all of them asked for by sessions that read nothing behind the first octet.
    let mut alice = loaded.server.alice(&loaded.setup);
    let line = format!("{}\r\n", "x".repeat(998));
    let large = format!("Subject: large\r\n\r\n{}", line.repeat(20 * 1024));
    assert!(alice.append(large.as_bytes()).contains("a OK"));
    for _ in 0..200 {
        alice.send(format!("a APPEND INBOX {{{}+}}\r\n{line}\r\n", line.len()));
    }
    for _ in 0..200 {
        assert!(alice.tagged().contains("a OK"));
    }
    let _deaf: Vec<Client> = (0..10)
        .map(|_| {
            let mut alice = loaded.server.alice(&loaded.setup);
            assert!(alice.imap("SELECT INBOX").contains("* 202 EXISTS"));
            alice.send("a FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\n".repeat(200));
            alice.octets(1);
            alice
        })
        .collect();
    // Others are served meanwhile, which takes longer than filling any buffer.
    let mut other = loaded.server.smtp();
    other.smtp("EHLO client.example");
    for _ in 0..50 {
        assert!(other.mail(ALICE, b"Subject: meanwhile\r\n\r\ntext\r\n").starts_with("250"));
    }
    assert_eq!(loaded.messages(), 252);
    loaded.check("40 GiB asked for and not read");
    // The deaf have lost nothing but time.
    let mut start = [0; 4];
    deaf[0].read_exact(&mut start).expect("what was said at first");
    assert_eq!(&start, b"220 ");
}
