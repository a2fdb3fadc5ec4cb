//! A tiny authoritative DNS server for demos and tests: a few records in memory, over UDP and TCP on one port. It
//! resolves nothing for anybody else and listens where it is told to, so it suits loopback and nothing larger.
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! use sealpost_lookup::zone::{Zone, ZoneServer};
//! let mut zone = Zone::new("example.net");
//! zone.mx("example.net", 10, "mail.example.net")
//!     .a("mail.example.net", [127, 0, 0, 2].into())
//!     .srv("_submissions._tcp.example.net", 0, 0, 465, "mail.example.net");
//! let server = ZoneServer::start("127.0.0.1:0".parse().unwrap(), vec![zone]).await?;
//! println!("{}", server.address());
//! # Ok(()) }
//! ```

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, MX, SOA, SRV, TXT},
    },
};
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

/// Nothing is to be cached: what a demo or test changes is seen at once.
const TTL_SECONDS: u32 = 0;
/// Largest answer over UDP to who announces EDNS (the DNS flag day's figure); else 512 (RFC 1035 §4.2.1).
const UDP_MAX: usize = 1_232;
/// TCP connections at once.
const TCP_CONNECTIONS: usize = 64;
/// Idle time of a TCP connection.
const TCP_IDLE: Duration = Duration::from_secs(5);

/// The records of one zone.
///
/// The methods that add records take names as they are written in the program and panic on one that is no name.
#[derive(Debug, Clone)]
pub struct Zone {
    origin: Name,
    records: HashMap<Name, Vec<RData>>,
}

impl Zone {
    /// An empty zone.
    pub fn new(origin: &str) -> Self {
        Self { origin: name(origin), records: HashMap::new() }
    }
    /// Mail exchanger; `.` as exchange is the null MX (RFC 7505).
    pub fn mx(&mut self, owner: &str, preference: u16, exchange: &str) -> &mut Self {
        self.add(owner, RData::MX(MX::new(preference, name(exchange))))
    }
    /// IPv4 address.
    pub fn a(&mut self, owner: &str, address: Ipv4Addr) -> &mut Self {
        self.add(owner, RData::A(A(address)))
    }
    /// IPv6 address.
    pub fn aaaa(&mut self, owner: &str, address: Ipv6Addr) -> &mut Self {
        self.add(owner, RData::AAAA(AAAA(address)))
    }
    /// Alias: answers for `owner` are those of `target`, where the zone's server has them.
    pub fn cname(&mut self, owner: &str, target: &str) -> &mut Self {
        self.add(owner, RData::CNAME(CNAME(name(target))))
    }
    /// Service; `owner` with its `_service._tcp.` labels. `.` as target: not offered (RFC 2782).
    pub fn srv(&mut self, owner: &str, priority: u16, weight: u16, port: u16, target: &str) -> &mut Self {
        self.add(owner, RData::SRV(SRV::new(priority, weight, port, name(target))))
    }
    /// Text, cut into strings of 255 octets.
    pub fn txt(&mut self, owner: &str, text: &str) -> &mut Self {
        self.add(owner, RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect())))
    }
    /// Removes all records of `owner`.
    pub fn remove(&mut self, owner: &str) -> &mut Self {
        self.records.remove(&name(owner));
        self
    }
    fn add(&mut self, owner: &str, data: RData) -> &mut Self {
        self.records.entry(name(owner)).or_default().push(data);
        self
    }
    fn alias(&self, asked: &Name) -> Option<&RData> {
        self.records.get(asked)?.iter().find(|data| data.record_type() == RecordType::CNAME)
    }
    fn soa(&self) -> Record {
        let data =
            SOA::new(self.origin.clone(), name("hostmaster.invalid"), 1, 3_600, 600, 86_400, TTL_SECONDS);
        Record::from_rdata(self.origin.clone(), TTL_SECONDS, RData::SOA(data))
    }
    fn answer(&self, asked: &Name, kind: RecordType, reply: &mut Message) {
        let records = self.records.get(asked);
        let found = records.into_iter().flatten().filter(|data| data.record_type() == kind);
        for data in found {
            reply.add_answer(Record::from_rdata(asked.clone(), TTL_SECONDS, data.clone()));
        }
        if let (true, Some(alias)) = (reply.answers.is_empty(), self.alias(asked)) {
            // The resolver asks for the target itself.
            reply.add_answer(Record::from_rdata(asked.clone(), TTL_SECONDS, alias.clone()));
        }
        if kind == RecordType::SOA && *asked == self.origin {
            reply.add_answer(self.soa());
        }
        if reply.answers.is_empty() {
            // A name with names below it exists too (RFC 8020).
            let exists = *asked == self.origin || self.records.keys().any(|owner| asked.zone_of(owner));
            reply.metadata.response_code =
                if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
            reply.add_authority(self.soa());
        }
    }
}

fn name(text: &str) -> Name {
    let mut name =
        Name::from_ascii(text).expect("names in a demo's or test's zone are written in the program");
    name.set_fqdn(true);
    name
}

/// The answer to one packet; `None` where none is due.
fn respond(zones: &[Zone], packet: &[u8], udp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(packet).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1_232);
        reply.set_edns(edns);
    }
    match (query.metadata.op_code, &query.queries[..]) {
        (OpCode::Query, [question]) => {
            // The most specific zone answers.
            let zone = zones
                .iter()
                .filter(|zone| zone.origin.zone_of(question.name()))
                .max_by_key(|zone| zone.origin.num_labels());
            match zone {
                Some(zone) => {
                    reply.metadata.authoritative = true;
                    zone.answer(question.name(), question.query_type(), &mut reply);
                }
                None => reply.metadata.response_code = ResponseCode::Refused,
            }
        }
        (OpCode::Query, _) => reply.metadata.response_code = ResponseCode::FormErr,
        _ => reply.metadata.response_code = ResponseCode::NotImp,
    }
    let whole = reply.to_vec().ok()?;
    let limit = if query.edns.is_some() { UDP_MAX } else { 512 };
    if udp && whole.len() > limit { reply.truncate().to_vec().ok() } else { Some(whole) }
}

/// A running server; stops when dropped.
#[derive(Debug)]
pub struct ZoneServer {
    address: SocketAddr,
    zones: Arc<RwLock<Arc<[Zone]>>>,
    tasks: [JoinHandle<()>; 2],
}

impl ZoneServer {
    /// Listens on `listen`, UDP and TCP on the same port (a free one for port 0).
    pub async fn start(listen: SocketAddr, zones: Vec<Zone>) -> io::Result<Self> {
        // The port that TCP got may be taken for UDP: then another.
        let mut last = None;
        for _ in 0..16 {
            let tcp = TcpListener::bind(listen).await?;
            let address = tcp.local_addr()?;
            match UdpSocket::bind(address).await {
                Ok(udp) => {
                    let zones: Arc<RwLock<Arc<[Zone]>>> = Arc::new(RwLock::new(zones.into()));
                    let tasks = [
                        tokio::spawn(serve_udp(udp, Arc::clone(&zones))),
                        tokio::spawn(serve_tcp(tcp, Arc::clone(&zones))),
                    ];
                    return Ok(Self { address, zones, tasks });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Serves other zones from now on.
    pub fn replace(&self, zones: Vec<Zone>) {
        *self.zones.write().unwrap_or_else(PoisonError::into_inner) = zones.into();
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn current(zones: &RwLock<Arc<[Zone]>>) -> Arc<[Zone]> {
    Arc::clone(&zones.read().unwrap_or_else(PoisonError::into_inner))
}

async fn serve_udp(socket: UdpSocket, zones: Arc<RwLock<Arc<[Zone]>>>) {
    let mut packet = [0; 4_096];
    loop {
        // An error here is an ICMP answer to an earlier packet: somebody else went away.
        let Ok((octets, peer)) = socket.recv_from(&mut packet).await else { continue };
        if let Some(reply) = respond(&current(&zones), &packet[..octets], true) {
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zones: Arc<RwLock<Arc<[Zone]>>>) {
    let connections = Arc::new(Semaphore::new(TCP_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let zones = Arc::clone(&zones);
        tokio::spawn(async move {
            let _ = answer_tcp(stream, &zones).await;
            drop(permit);
        });
    }
}

async fn answer_tcp(mut stream: TcpStream, zones: &RwLock<Arc<[Zone]>>) -> io::Result<()> {
    loop {
        let octets = timeout(TCP_IDLE, stream.read_u16()).await??;
        let mut packet = vec![0; usize::from(octets)];
        timeout(TCP_IDLE, stream.read_exact(&mut packet)).await??;
        let Some(reply) = respond(&current(zones), &packet, false) else { return Ok(()) };
        let Ok(length) = u16::try_from(reply.len()) else { return Ok(()) };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&reply);
        timeout(TCP_IDLE, stream.write_all(&framed)).await??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;

    fn ask(zones: &[Zone], asked: &str, kind: RecordType, udp: bool) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(name(asked), kind));
        let reply = respond(zones, &query.to_vec().unwrap(), udp).unwrap();
        Message::from_vec(&reply).unwrap()
    }

    #[test]
    fn answers_and_denies() {
        let mut zone = Zone::new("example.net");
        zone.mx("example.net", 10, "mail.example.net").a("mail.example.net", [127, 0, 0, 2].into());
        zone.srv("_imaps._tcp.example.net", 0, 0, 993, "mail.example.net");
        zone.cname("www.example.net", "mail.example.net");
        zone.aaaa("mail.example.net", Ipv6Addr::LOCALHOST).txt("long.example.net", &"x".repeat(2_000));
        let zones = [zone];
        for (asked, kind, answers, code) in [
            ("example.net", RecordType::MX, 1, ResponseCode::NoError),
            ("EXAMPLE.net", RecordType::MX, 1, ResponseCode::NoError),
            ("mail.example.net", RecordType::AAAA, 1, ResponseCode::NoError),
            ("www.example.net", RecordType::AAAA, 1, ResponseCode::NoError),
            ("www.example.net", RecordType::CNAME, 1, ResponseCode::NoError),
            ("_imaps._tcp.example.net", RecordType::SRV, 1, ResponseCode::NoError),
            ("mail.example.net", RecordType::MX, 0, ResponseCode::NoError),
            ("_tcp.example.net", RecordType::A, 0, ResponseCode::NoError),
            ("example.net", RecordType::A, 0, ResponseCode::NoError),
            ("none.example.net", RecordType::A, 0, ResponseCode::NXDomain),
            ("example.com", RecordType::MX, 0, ResponseCode::Refused),
        ] {
            let reply = ask(&zones, asked, kind, true);
            assert_eq!(
                (reply.answers.len(), reply.metadata.response_code),
                (answers, code),
                "{asked} {kind}"
            );
        }
        let cut = ask(&zones, "long.example.net", RecordType::TXT, true);
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        assert_eq!(ask(&zones, "long.example.net", RecordType::TXT, false).answers.len(), 1);
        assert!(respond(&zones, b"\0\0", true).is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(octets: Vec<u8>) {
            let _ = respond(&[Zone::new("example.net")], &octets, true);
        }
    }
}
