//! Questions to the DNS: MX, SRV, TXT and addresses, each with the three outcomes that matter (records, a definite
//! "none", a failure).

use crate::{LookupConfig, LookupError};
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType},
};
use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Longest time an answer is kept, whatever its TTL says: servers move.
const CACHE_MAX: Duration = Duration::from_secs(60 * 60);
/// Answers kept.
const CACHE_ANSWERS: u64 = 4_096;
/// Hosts of one domain that are looked at; nobody has more in earnest, and each costs two questions.
const HOSTS_MAX: usize = 10;
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// NXDOMAIN.
    NoDomain,
    /// The name exists and has no such records.
    NoRecords,
    /// Nobody knows: SERVFAIL, time-out, malformed.
    Failed(String),
}

/// A server name and where its records say it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Preference of the MX, priority of the SRV; lower is better.
    pub(crate) preference: u16,
    /// Weight of the SRV.
    weight: u16,
    /// Host name, lower case, without the final dot.
    pub(crate) name: String,
    /// Port.
    pub(crate) port: u16,
}

impl Target {
    /// The domain as its own mail exchanger.
    pub(crate) fn implicit(domain: &str) -> Self {
        Self { preference: 0, weight: 0, name: domain.to_owned(), port: 25 }
    }
}

/// The resolver.
pub(crate) struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    pub(crate) fn new(config: &LookupConfig) -> Result<Self, LookupError> {
        let failed = |error: NetError| LookupError::Resolver(error.to_string());
        let mut builder = match config.dns {
            Some(server) => {
                let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut name_server.connections {
                    connection.port = server.port();
                }
                let mut builder = TokioResolver::builder_with_config(
                    ResolverConfig::from_name_servers(vec![name_server]),
                    TokioRuntimeProvider::default(),
                );
                // Who names a resolver means that one alone.
                builder.options_mut().use_hosts_file = ResolveHosts::Never;
                builder
            }
            None => TokioResolver::builder_tokio().map_err(failed)?,
        };
        let options = builder.options_mut();
        options.cache_size = CACHE_ANSWERS;
        options.positive_max_ttl = Some(CACHE_MAX);
        options.negative_max_ttl = Some(CACHE_MAX);
        options.try_tcp_on_error = true;
        Ok(Self { resolver: builder.build().map_err(failed)? })
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, NoAnswer> {
        // With its final dot: no search domain is ever appended.
        let mut question = Name::from_ascii(name).map_err(|error| NoAnswer::Failed(error.to_string()))?;
        question.set_fqdn(true);
        match self.resolver.lookup(question, kind).await {
            Ok(found) => {
                // A CNAME chain stands in the answer too.
                let records = found.answers().iter().filter(|record| record.record_type() == kind);
                let records: Vec<_> = records.map(|record| record.data.clone()).collect();
                if records.is_empty() { Err(NoAnswer::NoRecords) } else { Ok(records) }
            }
            // Only these two codes are a definite "none"; an answer without records may be a failure in disguise.
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Err(match none.response_code {
                ResponseCode::NXDomain => NoAnswer::NoDomain,
                ResponseCode::NoError => NoAnswer::NoRecords,
                code => NoAnswer::Failed(format!("the name server answered {code} for {name}")),
            }),
            Err(error) => Err(NoAnswer::Failed(format!("{error} for {name}"))),
        }
    }

    /// MX records by preference, those alike in random order (RFC 5321 §5.1); none for a null MX (RFC 7505).
    pub(crate) async fn mx(&self, domain: &str) -> Result<Vec<Target>, NoAnswer> {
        let records = self.ask(domain, RecordType::MX).await?;
        let mut targets: Vec<Target> = records
            .iter()
            .filter_map(|data| match data {
                RData::MX(mx) => {
                    let name = host_name(&mx.exchange)?;
                    Some(Target { preference: mx.preference, weight: 0, name, port: 25 })
                }
                _ => None,
            })
            .collect();
        targets.sort_by_cached_key(|target| (target.preference, random()));
        targets.truncate(HOSTS_MAX);
        Ok(targets)
    }

    /// SRV records in the order to be tried (RFC 2782); none where the service is said not to be offered.
    pub(crate) async fn srv(&self, service: &str, domain: &str) -> Result<Vec<Target>, NoAnswer> {
        let records = self.ask(&format!("{service}.{domain}"), RecordType::SRV).await?;
        let targets = records.iter().filter_map(|data| match data {
            RData::SRV(srv) => {
                let name = host_name(&srv.target)?;
                Some(Target { preference: srv.priority, weight: srv.weight, name, port: srv.port })
            }
            _ => None,
        });
        let mut ordered = by_weight(targets.collect(), random);
        ordered.truncate(HOSTS_MAX);
        Ok(ordered)
    }

    /// A and AAAA, IPv4 first: between mail servers it is the one that works more often.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NoAnswer> {
        let (v4, v6) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
        let address = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        };
        let found = [&v4, &v6].into_iter().filter_map(|answer| answer.as_ref().ok()).flatten();
        let mut addresses: Vec<SocketAddr> =
            found.filter_map(address).map(|ip| SocketAddr::new(ip, port)).collect();
        addresses.truncate(ADDRESSES_MAX);
        match (addresses.is_empty(), v4, v6) {
            (false, ..) => Ok(addresses),
            (true, Err(failed @ NoAnswer::Failed(_)), _) | (true, _, Err(failed @ NoAnswer::Failed(_))) => {
                Err(failed)
            }
            (true, Err(none), _) => Err(none),
            (true, Ok(_), _) => Err(NoAnswer::NoRecords),
        }
    }

    /// TXT records, the strings of each joined.
    pub(crate) async fn txt(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        let records = self.ask(name, RecordType::TXT).await?;
        let text = |data: &RData| match data {
            RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).ok(),
            _ => None,
        };
        Ok(records.iter().filter_map(text).collect())
    }
}

/// The name without its final dot; `None` for the root, which stands for "no such service".
fn host_name(name: &Name) -> Option<String> {
    let text = name.to_ascii().to_ascii_lowercase();
    let text = text.strip_suffix('.').unwrap_or(&text);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Chance among equals; nothing secret hangs on it.
fn random() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// RFC 2782's order: by priority; among equals each next one with a chance in proportion to its weight.
fn by_weight(mut targets: Vec<Target>, random: impl Fn() -> u64) -> Vec<Target> {
    // Weight 0 first, as the RFC says, so that it is chosen only when the sum falls on it.
    targets.sort_by_key(|target| (target.preference, target.weight));
    let mut ordered = Vec::with_capacity(targets.len());
    while let Some(first) = targets.first() {
        let priority = first.preference;
        let equals = targets.iter().take_while(|target| target.preference == priority);
        let total: u64 = equals.clone().map(|target| u64::from(target.weight)).sum();
        let chosen = random() % (total + 1);
        let mut sum = 0;
        let at = equals
            .map(|target| {
                sum += u64::from(target.weight);
                sum
            })
            .position(|sum| sum >= chosen)
            .unwrap_or(0);
        ordered.push(targets.remove(at));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, preference: u16, weight: u16) -> Target {
        Target { preference, weight, name: name.into(), port: 0 }
    }

    #[test]
    fn srv_order() {
        let all = || vec![target("c", 5, 0), target("a", 1, 10), target("b", 1, 0), target("d", 1, 30)];
        let names = |random: u64| -> Vec<String> {
            by_weight(all(), || random).into_iter().map(|target| target.name).collect()
        };
        assert_eq!(names(0), ["b", "a", "d", "c"]);
        assert_eq!(names(1)[..2], ["a", "d"]);
        assert_eq!(names(11)[0], "d");
        assert_eq!(names(40)[0], "d");
        assert!(names(17).last().is_some_and(|last| last == "c"), "priority above weight");
    }
}
