//! IMAP (RFC 3501 §9, RFC 9051 §9): commands and responses with nested lists, literals and sequence sets.

use super::{bent, one, rarely};
use crate::Rng;

/// Deepest nesting made by rule; the mutator repeats what is between brackets further.
const DEPTH: usize = 6;

fn string(rng: &mut Rng) -> String {
    let text = one(rng, &["INBOX", "a b", "", "Entw&APw-rfe", "x/y", "*", "%", "~", "\\Seen", "ä"]);
    match rng.below(5) {
        0 => format!("{{{}}}\r\n{text}", text.len()),
        1 => format!("{{{}+}}\r\n{text}", text.len()),
        2 if !text.is_empty() && !text.contains(' ') => text.into(),
        _ => format!("\"{}\"", text.replace('\\', "\\\\")),
    }
}

fn set(rng: &mut Rng) -> String {
    let number =
        |rng: &mut Rng| one(rng, &["1", "2", "7", "*", "4294967295", "0", "4294967296", "$"]).to_owned();
    let mut set = Vec::new();
    for _ in 0..=rng.below(4) {
        let first = number(rng);
        set.push(if rarely(rng, 2) { format!("{first}:{}", number(rng)) } else { first });
    }
    set.join(",")
}

fn section(rng: &mut Rng) -> String {
    let part = one(rng, &["", "1", "1.2.3", "0", "1."]);
    let text =
        one(rng, &["", "HEADER", "TEXT", "MIME", "HEADER.FIELDS (From \"To\")", "HEADER.FIELDS.NOT (X)"]);
    let dot = if part.is_empty() || text.is_empty() { "" } else { "." };
    let partial = one(rng, &["", "", "<0.10>", "<4294967295.1>", "<1.0>", "<1>"]);
    format!("{}[{part}{dot}{text}]{partial}", one(rng, &["BODY", "BODY.PEEK", "BINARY", "BINARY.PEEK"]))
}

fn fetch(rng: &mut Rng) -> String {
    let items: Vec<String> = (0..=rng.below(5))
        .map(|_| match rng.below(3) {
            0 => section(rng),
            _ => one(
                rng,
                &[
                    "FLAGS",
                    "UID",
                    "ENVELOPE",
                    "BODY",
                    "BODYSTRUCTURE",
                    "RFC822.SIZE",
                    "INTERNALDATE",
                    "RFC822",
                    "MODSEQ",
                    "PREVIEW (LAZY)",
                    "BINARY.PEEK[1.2]<0.5>",
                    "BINARY.SIZE[]",
                    "SAVEDATE",
                    "EMAILID",
                    "THREADID",
                ],
            )
            .into(),
        })
        .collect();
    if rarely(rng, 8) {
        return one(rng, &["ALL", "FAST", "FULL"]).into();
    }
    let since = one(rng, &["", "", " (CHANGEDSINCE 7)", " (CHANGEDSINCE 7 VANISHED)", " (VANISHED)"]);
    format!("({}){since}", items.join(" "))
}

fn search(rng: &mut Rng, depth: usize) -> String {
    match rng.below(if depth < DEPTH { 10 } else { 6 }) {
        0 => one(rng, &["ALL", "SEEN", "UNSEEN", "NEW", "DELETED", "RECENT", "UNANSWERED"]).into(),
        1 => format!("{} {}", one(rng, &["FROM", "TO", "SUBJECT", "BODY", "TEXT", "BCC"]), string(rng)),
        2 => format!(
            "{} {}",
            one(rng, &["SINCE", "BEFORE", "ON", "SENTSINCE", "SAVEDON"]),
            one(rng, &["1-Jan-2026", "\"29-Feb-2028\"", "31-Feb-2026"])
        ),
        3 => format!("HEADER {} {}", string(rng), string(rng)),
        4 => format!("{}{}", one(rng, &["", "UID "]), set(rng)),
        5 => {
            let key = one(
                rng,
                &["LARGER ", "OLDER ", "YOUNGER ", "MODSEQ ", "MODSEQ \"/flags/\\\\Seen\" all ", "EMAILID "],
            );
            format!("{key}{}", one(rng, &["0", "4294967295", "-1"]))
        }
        6 => format!("NOT {}", search(rng, depth + 1)),
        7 => format!("OR {} {}", search(rng, depth + 1), search(rng, depth + 1)),
        _ => {
            let keys: Vec<String> = (0..=rng.below(3)).map(|_| search(rng, depth + 1)).collect();
            format!("({})", keys.join(" "))
        }
    }
}

fn notify(rng: &mut Rng) -> String {
    let groups: Vec<String> = (0..=rng.below(3))
        .map(|_| {
            let filter = match rng.below(3) {
                0 => format!("{} ({} {})", one(rng, &["subtree", "mailboxes"]), string(rng), string(rng)),
                1 => one(rng, &["selected", "SELECTED-DELAYED"]).into(),
                _ => one(rng, &["personal", "inboxes", "subscribed", "subtree a", "all"]).into(),
            };
            let events = match rng.below(4) {
                0 => "NONE".into(),
                1 => format!("(MessageNew {} MessageExpunge FlagChange)", fetch(rng)),
                2 => one(rng, &["(MessageNew MessageExpunge)", "(FlagChange)", "()"]).into(),
                _ => {
                    one(rng, &["(MailboxName SubscriptionChange)", "(X-Y)", "(AnnotationChange)"]).to_owned()
                }
            };
            format!("({filter} {events})")
        })
        .collect();
    format!("NOTIFY {} {}", one(rng, &["SET", "SET STATUS", "NONE"]), groups.join(" "))
}

fn command(rng: &mut Rng) -> String {
    let uid = one(rng, &["", "UID "]);
    match rng.below(22) {
        0 => one(
            rng,
            &[
                "NOOP",
                "COMPRESS DEFLATE",
                "UNAUTHENTICATE",
                "CAPABILITY",
                "LOGOUT",
                "STARTTLS",
                "CHECK",
                "CLOSE",
                "EXPUNGE",
                "IDLE",
                "UNSELECT",
                "NAMESPACE",
            ],
        )
        .into(),
        1 => format!("LOGIN {} {}", string(rng), string(rng)),
        2 => format!("AUTHENTICATE {} AGEAYg==", one(rng, &["HASHEDPASS", "PLAIN", "X"])),
        3 if rarely(rng, 3) => {
            let known = one(rng, &["", " 1:9", " 1:9 (1,3 5,7)", " (1 2)", " 1:*"]);
            format!("SELECT {} (CONDSTORE QRESYNC (7 9{known}))", string(rng))
        }
        3 => format!("{} {}", one(rng, &["SELECT", "EXAMINE", "CREATE", "DELETE", "SUBSCRIBE"]), string(rng)),
        4 => format!("RENAME {} {}", string(rng), string(rng)),
        5 => format!("LIST {} {}", string(rng), string(rng)),
        6 => format!(
            "LIST (SUBSCRIBED) \"\" (INBOX {}) RETURN (STATUS (MESSAGES UIDNEXT) METADATA (/shared/comment))",
            string(rng)
        ),
        7 => format!(
            "STATUS {} (MESSAGES UNSEEN {})",
            string(rng),
            one(rng, &["SIZE", "RECENT", "DELETED", "HIGHESTMODSEQ", "MAILBOXID", "X"])
        ),
        8 => format!(
            "APPEND {} (\\Seen $x) \"23-Nov-2026 21:36:00 +0000\" {{3{}}}\r\nabc",
            string(rng),
            one(rng, &["", "+"])
        ),
        9 | 10 => format!("{uid}FETCH {} {}", set(rng), fetch(rng)),
        11 | 12 => {
            let options = one(rng, &["", "RETURN (MIN MAX COUNT) ", "RETURN () ", "CHARSET UTF-8 "]);
            format!("{uid}SEARCH {options}{}", search(rng, 0))
        }
        13 => format!(
            "{uid}STORE {} {}{}FLAGS{} (\\Deleted {})",
            set(rng),
            one(rng, &["", "", "(UNCHANGEDSINCE 7) "]),
            one(rng, &["", "+", "-"]),
            one(rng, &["", ".SILENT"]),
            one(rng, &["a", "\\Seen", "\\X"])
        ),
        16 => {
            let options = one(rng, &["", "RETURN (ALL COUNT) ", "RETURN () "]);
            let keys = ["DATE", "REVERSE SUBJECT", "FROM SIZE", "DISPLAYTO REVERSE CC", "COLOUR"];
            format!("{uid}SORT {options}({}) UTF-8 {}", one(rng, &keys), search(rng, 0))
        }
        17 => {
            let algorithm = one(rng, &["REFERENCES", "ORDEREDSUBJECT", "REFS"]);
            format!("{uid}THREAD {algorithm} US-ASCII {}", search(rng, 0))
        }
        18 => {
            let data =
                one(rng, &["{3}\r\nabc", "~{3+}\r\na\0c", "UTF8 (~{2+}\r\n\u{e4})", "UTF8 ({1}\r\nx)"]);
            format!("{uid}REPLACE {} {} () {data} {data}", one(rng, &["1", "*", "0", "1:2"]), string(rng))
        }
        19 => {
            let options = one(rng, &["", "(DEPTH 1) ", "(MAXSIZE 5 DEPTH infinity) ", "(DEPTH 2) "]);
            let entries = one(rng, &["/private/comment", "(/SHARED/x \"/private/a b\")", "()", "/private/%"]);
            format!("GETMETADATA {options}{} {options}{entries}", string(rng))
        }
        20 => {
            let value = one(rng, &["NIL", "~{3+}\r\n\0\r\n", "x"]);
            let entry = one(rng, &["/private/specialuse", "/shared/comment", "/private/vendor/x", "/a"]);
            format!("SETMETADATA {} ({entry} {} {entry} {value})", string(rng), string(rng))
        }
        21 if rarely(rng, 3) => "NOTIFY NONE".into(),
        21 => notify(rng),
        14 => format!("{uid}{} {} {}", one(rng, &["COPY", "MOVE"]), set(rng), string(rng)),
        _ => format!("ID ({} {})", string(rng), one(rng, &["NIL", "\"x\""])),
    }
}

pub(super) fn commands(rng: &mut Rng) -> Vec<u8> {
    let mut out = String::new();
    for n in 0..=rng.below(5) {
        let command = format!("a{n} {}", command(rng));
        out.push_str(&bent(rng, 8, command));
        out.push_str("\r\n");
    }
    out.into_bytes()
}

fn value(rng: &mut Rng, depth: usize) -> String {
    match rng.below(if depth < DEPTH { 6 } else { 4 }) {
        0 => "NIL".into(),
        1 => one(rng, &["0", "12", "4294967296"]).into(),
        2 | 3 => string(rng),
        _ => {
            let values: Vec<String> = (0..rng.below(5)).map(|_| value(rng, depth + 1)).collect();
            format!("({})", values.join(if rarely(rng, 3) { "" } else { " " }))
        }
    }
}

pub(super) fn replies(rng: &mut Rng) -> Vec<u8> {
    let mut out = String::new();
    for _ in 0..=rng.below(5) {
        let reply = match rng.below(9) {
            0 => format!(
                "a1 {} [{} {}] text",
                one(rng, &["OK", "NO", "BAD", "XX"]),
                one(rng, &["UIDNEXT", "APPENDUID", "COPYUID", "ALERT"]),
                value(rng, 2)
            ),
            1 => "+ text".into(),
            2 => format!(
                "* {} {}",
                one(rng, &["0", "3", "4294967296"]),
                one(rng, &["EXISTS", "EXPUNGE", "RECENT"])
            ),
            3 => format!("* LIST (\\HasNoChildren) {} {}", one(rng, &["\"/\"", "NIL"]), string(rng)),
            4 => format!("* STATUS {} (MESSAGES 1 UNSEEN {})", string(rng), value(rng, 3)),
            5 => format!("* ESEARCH (TAG \"a1\") UID ALL {} COUNT 2", set(rng)),
            6 => format!("* SEARCH {}", set(rng).replace(',', " ")),
            _ => {
                let items: Vec<String> = (0..=rng.below(4))
                    .map(|_| {
                        format!(
                            "{} {}",
                            one(
                                rng,
                                &[
                                    "UID",
                                    "FLAGS",
                                    "ENVELOPE",
                                    "BODY[]",
                                    "BODYSTRUCTURE",
                                    "BODY[1]<0>",
                                    "RFC822.SIZE"
                                ]
                            ),
                            value(rng, 0)
                        )
                    })
                    .collect();
                format!("* 1 FETCH ({})", items.join(" "))
            }
        };
        out.push_str(&bent(rng, 8, reply));
        out.push_str("\r\n");
    }
    out.into_bytes()
}
