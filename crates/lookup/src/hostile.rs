//! Doors for the fuzzer to parsers that are nobody else's business. No part of the interface.

use crate::{https, mta_sts};

/// Whether an MTA-STS policy with these octets is in mode enforce and lists `server`.
pub fn policy_enforces(policy: &[u8], server: &str) -> bool {
    mta_sts::Policy::parse(policy).is_some_and(|policy| policy.enforces(server))
}

/// The id in a domain's `_mta-sts` TXT records.
pub fn policy_id(records: &[String]) -> Option<String> {
    mta_sts::record_id(records)
}

/// The body of an HTTP answer; `Ok(None)` asks for more octets, an error is in words.
pub fn http_body(octets: &[u8], ended: bool, octets_max: usize) -> Result<Option<Vec<u8>>, String> {
    https::parse(octets, ended, octets_max).map_err(|error| error.to_string())
}
