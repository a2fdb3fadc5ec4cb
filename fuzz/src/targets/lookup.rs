//! What look-ups read over HTTPS.

use super::lines;
use sealpost_lookup::hostile;

/// Octets of a document that are taken here.
const OCTETS_MAX: usize = 1_000;

/// A policy binds only names that stand in it, and only in mode enforce.
pub(crate) fn mta_sts(input: &[u8]) {
    let hosts =
        ["mail.example.net", "a.mail.example.net", "example.net", "net", "mail.example.net.evil.example", ""];
    for host in hosts {
        if hostile::policy_enforces(input, host) {
            let parent = host.split_once('.').map_or("", |(_, parent)| parent);
            let text = String::from_utf8_lossy(input).to_ascii_lowercase();
            assert!(text.contains("enforce") && text.contains("stsv1"));
            let named = text.lines().any(|line| {
                let value = line.strip_prefix("mx:").map(str::trim);
                value == Some(host) || value.is_some_and(|v| v.strip_prefix("*.") == Some(parent))
            });
            assert!(named, "{host:?} is in no line of the policy");
        }
    }
    let records: Vec<String> = lines(input).map(str::to_owned).collect();
    if let Some(id) = hostile::policy_id(&records) {
        assert!((1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(records.iter().any(|record| record.contains(&id)));
    }
}

/// A document is bounded, and what was whole stays the same when more comes.
pub(crate) fn http(input: &[u8]) {
    let mut whole: Option<Vec<u8>> = None;
    let step = 1 + input.len() / 40;
    for end in (0..input.len()).step_by(step).chain([input.len()]) {
        match (hostile::http_body(&input[..end], false, OCTETS_MAX), &whole) {
            (Ok(Some(body)), None) => {
                assert!(body.len() <= OCTETS_MAX, "over the limit");
                whole = Some(body);
            }
            (Ok(Some(body)), Some(before)) => assert_eq!(&body, before, "more octets changed it"),
            (Ok(None) | Err(_), Some(_)) => panic!("more octets took it back"),
            (Ok(None), None) => {}
            // The reader stops at an error.
            (Err(_), None) => return,
        }
    }
    if let Ok(Some(body)) = hostile::http_body(input, true, OCTETS_MAX) {
        assert!(body.len() <= OCTETS_MAX);
    }
}
