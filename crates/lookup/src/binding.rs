//! Whether a server's name is tied to the mail domain it answers for (profile §8, R04).

use crate::{Binding, mta_sts::Policy};
use sealpost_proto::address::Domain;

/// Judges by names alone: the name is the domain, or one label under it where the domain is not on the Public Suffix
/// List (private part included: nobody's host may speak for all of `github.io`).
pub(crate) fn by_name(domain: &Domain, server: &str) -> bool {
    let domain = domain.as_str();
    if server == domain {
        return true;
    }
    let one_label = server
        .strip_suffix(domain)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|label| !label.is_empty() && !label.contains('.'));
    one_label && !is_public_suffix(domain)
}

fn is_public_suffix(domain: &str) -> bool {
    // Where there is no rule at all the default rule `*` makes the last label a suffix.
    psl::suffix(domain.as_bytes()).is_none_or(|suffix| suffix.as_bytes() == domain.as_bytes())
}

/// The whole judgement; `policy` is asked only where the name alone does not bind.
pub(crate) fn judge(domain: &Domain, server: &str, policy: Option<&Policy>) -> Binding {
    if by_name(domain, server) {
        Binding::Name
    } else if policy.is_some_and(|policy| policy.enforces(server)) {
        Binding::MtaSts
    } else {
        Binding::None(format!(
            "nothing ties the server {server} to the domain {domain}: it is not one label under it, and no enforced \
             MTA-STS policy lists it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r04_names_bound_to_domains() {
        for (domain, server, bound) in [
            ("example.net", "example.net", true),
            ("example.net", "mail.example.net", true),
            ("example.net", "a.mail.example.net", false),
            ("example.net", "mail.example.com", false),
            ("example.net", "mailexample.net", false),
            ("example.net", ".example.net", false),
            ("example.net", "net", false),
            // Suffixes, ICANN and private.
            ("co.uk", "mail.co.uk", false),
            ("co.uk", "co.uk", true),
            ("github.io", "mail.github.io", false),
            ("me.github.io", "mail.me.github.io", true),
            ("com", "mail.com", false),
            // A wildcard rule, and an exception to it.
            ("foo.ck", "mail.foo.ck", false),
            ("www.ck", "mail.www.ck", true),
            // A-labels, on the list as U-labels (公司.cn).
            ("xn--55qx5d.cn", "mail.xn--55qx5d.cn", false),
            ("xn--mller-kva.example", "mail.xn--mller-kva.example", true),
            // No rule: the last label is a suffix.
            ("example", "mail.example", false),
            ("a.example", "mail.a.example", true),
        ] {
            let domain = Domain::parse(domain).unwrap();
            assert_eq!(by_name(&domain, server), bound, "{server} for {domain}");
            assert_eq!(judge(&domain, server, None).is_authenticated(), bound);
        }
    }

    #[test]
    fn r04_mta_sts_binds_in_mode_enforce_only() {
        let domain = Domain::parse("example.net").unwrap();
        for (mode, expected) in [("enforce", true), ("testing", false), ("none", false)] {
            let text = format!("version: STSv1\nmode: {mode}\nmx: *.provider.example\nmax_age: 86400\n");
            let policy = Policy::parse(text.as_bytes()).unwrap();
            let binding = judge(&domain, "mx1.provider.example", Some(&policy));
            assert_eq!(binding == Binding::MtaSts, expected, "{mode}");
            assert!(!judge(&domain, "mx1.other.example", Some(&policy)).is_authenticated());
        }
    }
}
