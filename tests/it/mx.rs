//! Another domain's mail server, as plain as can be, with a DNS that leads to it. What it does at each command is the
//! test's.

use sealpost_lookup::zone::{Zone, ZoneServer};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

/// The reply to a command. `.` is the end of a message.
type Answer = Arc<dyn Fn(&str) -> &'static str + Send + Sync>;

/// A server for one address; its threads end with their connections.
pub struct Mx {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

/// What any server says.
pub fn usual(command: &str) -> &'static str {
    match command.split([' ', ':']).next().unwrap_or_default() {
        "DATA" => "354 go\r\n",
        "QUIT" => "221 bye\r\n",
        _ => "250 ok\r\n",
    }
}

impl Mx {
    pub fn start(address: SocketAddr, answer: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("a loopback address");
        let address = listener.local_addr().expect("bound");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (answer, record): (Answer, _) = (Arc::new(answer), Arc::clone(&heard));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, record) = (Arc::clone(&answer), Arc::clone(&record));
                std::thread::spawn(move || drop(serve(stream, &*answer, &record)));
            }
        });
        Self { address, heard }
    }

    /// All commands so far; a message is one, with the lines it had.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a command that begins so was heard.
    pub fn count(&self, start: &str) -> usize {
        self.heard().iter().filter(|line| line.starts_with(start)).count()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&str) -> &'static str,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 mail.example.com\r\n")?;
    while let Some(Ok(command)) = lines.next() {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(command.clone());
        let reply = answer(&command);
        stream.write_all(reply.as_bytes())?;
        if reply.starts_with("354") {
            let mut message = String::new();
            while let Some(Ok(line)) = lines.next() {
                if line == "." {
                    break;
                }
                message += &(line + "\r\n");
            }
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(format!("MESSAGE {message}"));
            stream.write_all(answer(".").as_bytes())?;
        }
    }
    Ok(())
}

/// A name server for example.com, which lives as long as this does.
pub struct Dns {
    zones: ZoneServer,
    _runtime: tokio::runtime::Runtime,
}

impl Dns {
    pub fn start(make: impl FnOnce(&mut Zone)) -> Self {
        let mut zone = Zone::new("example.com");
        make(&mut zone);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let start = ZoneServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), vec![zone]);
        let zones = runtime.block_on(start).expect("a name server");
        Self { zones, _runtime: runtime }
    }

    /// example.com's mail goes to this IPv4 address.
    pub fn leading_to(mx: &Mx) -> Self {
        let SocketAddr::V4(at) = mx.address else { panic!("{} is not IPv4", mx.address) };
        Self::start(|zone| {
            zone.mx("example.com", 10, "mail.example.com").a("mail.example.com", *at.ip());
        })
    }

    /// The lines for the top of a configuration that asks this server, with that port of MX servers.
    pub fn config(&self, mx_port: u16) -> String {
        format!("dns = \"{}\"\nmx_port = {mx_port}\n", self.zones.address())
    }
}
