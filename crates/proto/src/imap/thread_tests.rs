#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::{collection::vec, prelude::*};

fn message(number: u32, sent: i64, subject: &str, references: &[u64]) -> Threaded {
    let base = crate::imap::threading::base_subject(subject);
    Threaded {
        number,
        sent,
        subject: base.text.to_lowercase(),
        is_reply: base.is_reply,
        id: Some(u64::from(number)),
        references: references.to_vec(),
    }
}

fn by_references(messages: &[Threaded]) -> String {
    String::from_utf8(references(messages)).unwrap()
}

#[test]
fn by_subject() {
    let threads = |messages: &[Threaded]| String::from_utf8(ordered_subject(messages)).unwrap();
    assert_eq!(threads(&[]), "");
    // RFC 5256 §4 shows this shape: the first of a thread has all others as children.
    assert_eq!(
        threads(&[
            message(1, 10, "a", &[]),
            message(2, 5, "b", &[]),
            message(3, 20, "Re: A", &[]),
            message(4, 15, "re: a", &[]),
            message(5, 6, "Re: b", &[]),
        ]),
        "(2 5)(1 (4)(3))"
    );
    assert_eq!(threads(&[message(1, 2, "", &[]), message(2, 1, "", &[])]), "(2 1)");
}

#[test]
fn outlines() {
    let lines = |messages: &[Threaded]| {
        outline(messages).into_iter().map(|line| (line.thread, line.depth, line.number)).collect::<Vec<_>>()
    };
    assert_eq!(lines(&[]), []);
    let messages = [
        message(1, 1, "a", &[]),
        // Same subject, and no answer.
        message(2, 2, "Re: a", &[]),
        message(3, 4, "", &[1]),
        message(4, 3, "", &[1]),
        message(5, 5, "", &[1, 4]),
        message(6, 6, "", &[99]),
        message(7, 7, "", &[99]),
    ];
    let want = [(0, 0, 1), (0, 1, 4), (0, 2, 5), (0, 1, 3), (1, 0, 2), (2, 1, 6), (2, 1, 7)];
    assert_eq!(lines(&messages), want);
    let chain: Vec<Threaded> = (1..=50_000)
        .map(|n| {
            message(n, i64::from(n), "", if n == 1 { vec![] } else { vec![u64::from(n) - 1] }.as_slice())
        })
        .collect();
    assert_eq!(lines(&chain).last(), Some(&(0, 49_999, 50_000)));
}

#[test]
fn by_references_of_all_kinds() {
    for (name, messages, expected) in [
        ("nothing", vec![], ""),
        (
            "a chain",
            vec![message(1, 1, "", &[]), message(2, 2, "", &[1]), message(3, 3, "", &[1, 2])],
            "(1 2 3)",
        ),
        (
            "siblings by date",
            vec![
                message(1, 1, "", &[]),
                message(2, 9, "", &[1]),
                message(3, 3, "", &[1]),
                message(4, 4, "", &[1, 3]),
            ],
            "(1 (3 4)(2))",
        ),
        ("one child of a message that is not there", vec![message(2, 2, "", &[1])], "(2)"),
        ("several of them", vec![message(2, 2, "", &[1]), message(3, 3, "", &[1])], "((2)(3))"),
        (
            "a message that is not there amid others",
            vec![message(1, 1, "", &[]), message(3, 3, "", &[1, 2]), message(4, 4, "", &[1, 2])],
            "(1 (3)(4))",
        ),
        ("a loop", vec![message(1, 1, "", &[2]), message(2, 2, "", &[1])], "(2 1)"),
        ("oneself", vec![message(1, 1, "", &[1])], "(1)"),
        (
            "a later message knows better whom the second answers",
            vec![message(3, 3, "", &[1, 2]), message(2, 2, "", &[9]), message(1, 1, "", &[])],
            "(1)(2 3)",
        ),
        (
            "one subject, an original and a reply",
            vec![message(1, 1, "Hi", &[]), message(2, 2, "Re: hi", &[])],
            "(1 2)",
        ),
        ("the reply came first", vec![message(1, 1, "Re: Hi", &[]), message(2, 2, "hi", &[])], "(2 1)"),
        ("two originals", vec![message(1, 1, "hi", &[]), message(2, 2, "hi", &[])], "((1)(2))"),
        (
            "three originals and a reply",
            vec![
                message(1, 1, "hi", &[]),
                message(2, 2, "hi", &[]),
                message(3, 3, "hi", &[]),
                message(4, 4, "Re: hi", &[]),
            ],
            "((1)(2)(3)(4))",
        ),
        (
            "a dummy of the same subject takes all",
            vec![
                message(1, 1, "hi", &[]),
                message(2, 2, "Re: hi", &[50]),
                message(3, 3, "Re: hi", &[50]),
                message(4, 4, "Re: hi", &[60]),
                message(5, 5, "Re: hi", &[60]),
            ],
            "((1)(2)(3)(4)(5))",
        ),
        ("no subject is no bond", vec![message(1, 1, "", &[]), message(2, 2, "Re:", &[])], "(1)(2)"),
    ] {
        assert_eq!(by_references(&messages), expected, "{name}");
    }
}

#[test]
fn of_one_id_the_first_message_has_it() {
    let mut messages = vec![message(1, 1, "", &[]), message(2, 2, "", &[]), message(3, 3, "", &[7])];
    messages[0].id = Some(7);
    messages[1].id = Some(7);
    assert_eq!(by_references(&messages), "(1 3)(2)");
    messages[0].id = None;
    assert_eq!(by_references(&messages), "(1)(2 3)");
}

/// Numbers 1 to `n`, in an order that has nothing to do with theirs.
fn shuffled(n: u32) -> Vec<u32> {
    (1..=n).map(|i| u32::try_from(u64::from(i) * 7_919 % u64::from(n) + 1).unwrap()).collect()
}

#[test]
fn chains_of_100000_in_any_order() {
    const N: u32 = 100_000;
    let expected = format!("({})", (1..=N).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
    for order in [(1..=N).collect(), (1..=N).rev().collect(), shuffled(N)] {
        let order: Vec<u32> = order;
        let chain: Vec<Threaded> = order
            .into_iter()
            .map(|n| {
                let references: Vec<u64> = (n.saturating_sub(8).max(1)..n).map(u64::from).collect();
                message(n, i64::from(n), "", &references)
            })
            .collect();
        assert!(by_references(&chain) == expected);
    }
}

#[test]
fn what_is_not_there_is_bounded() {
    // Each message names 64 that are not there: a fan above one chain of dummies.
    let chain: Vec<u64> = (1_000_000..1_000_064).collect();
    let fan: Vec<Threaded> = (1..=20_000).map(|n| message(n, i64::from(n), "", &chain)).collect();
    let written = by_references(&fan);
    assert!(written.starts_with("((1)(2)(3)") && written.ends_with("(20000))"));
    let messages: Vec<Threaded> = (1..=20_000_u64)
        .map(|n| {
            message(
                u32::try_from(n).unwrap(),
                0,
                "",
                &(n * 64 + 100_000..n * 64 + 100_064).collect::<Vec<_>>(),
            )
        })
        .collect();
    let mut forest = Forest::new(&messages);
    forest.link_all();
    assert_eq!(forest.nodes.len(), messages.len() + UNKNOWN_MAX);
}

#[test]
fn a_loop_is_looked_for_as_far_as_the_limit() {
    for (above, found) in [(STEPS_MAX, false), (STEPS_MAX + 1, true)] {
        let messages: Vec<Threaded> =
            (0..=u32::try_from(above).unwrap()).map(|n| message(n, 0, "", &[u64::from(n + 1)])).collect();
        let mut forest = Forest::new(&messages[..above]);
        for n in 1..u32::try_from(above).unwrap() {
            forest.link(n, n - 1, false);
        }
        assert_eq!(forest.descends(0, NONE - 1), found, "{above}");
    }
}

/// Parents by the words of RFC 5256 alone.
fn naive_parents(messages: &[Threaded]) -> HashMap<u64, u64> {
    let mut parents: HashMap<u64, u64> = HashMap::new();
    let descends = |parents: &HashMap<u64, u64>, mut at: u64, ancestor: u64| loop {
        if at == ancestor {
            return true;
        }
        match parents.get(&at) {
            Some(parent) => at = *parent,
            None => return false,
        }
    };
    for message in messages {
        for pair in message.references.windows(2) {
            if !parents.contains_key(&pair[1]) && !descends(&parents, pair[0], pair[1]) {
                parents.insert(pair[1], pair[0]);
            }
        }
        if let (Some(last), Some(id)) = (message.references.last(), message.id)
            && !descends(&parents, *last, id)
        {
            parents.insert(id, *last);
        }
    }
    parents
}

proptest! {
    #[test]
    fn parents_are_those_of_the_rfc(all in vec(vec(1u64..12, 0..5), 0..10)) {
        let messages: Vec<Threaded> =
            (1..).zip(&all).map(|(n, references)| message(n, 0, "", references)).collect();
        let mut forest = Forest::new(&messages);
        forest.link_all();
        let mut ids: HashMap<u32, u64> = (0..).zip(&messages).map(|(at, m)| (at, m.id.unwrap())).collect();
        // Dummies come in the order in which they are first named.
        let mut unknown = Vec::new();
        for reference in all.iter().flatten() {
            if *reference > messages.len() as u64 && !unknown.contains(reference) {
                unknown.push(*reference);
            }
        }
        for (at, id) in (u32::try_from(messages.len()).unwrap()..).zip(unknown) {
            ids.insert(at, id);
        }
        let parents: HashMap<u64, u64> = (0..).zip(&forest.nodes)
            .filter(|(_, node)| node.parent != NONE)
            .map(|(at, node): (u32, _)| (ids[&at], ids[&node.parent]))
            .collect();
        prop_assert_eq!(parents, naive_parents(&messages));
    }

    #[test]
    fn every_message_is_told_once(all in vec((0i64..4, "(re: )?[ab]?", vec(1u64..20, 0..4)), 0..15)) {
        let messages: Vec<Threaded> =
            (1..).zip(&all).map(|(n, (sent, subject, references))| message(n, *sent, subject, references)).collect();
        for written in [references(&messages), ordered_subject(&messages)] {
            let text = String::from_utf8(written).unwrap();
            let mut depth = 0;
            for c in text.chars() {
                depth += i32::from(c == '(') - i32::from(c == ')');
                prop_assert!(depth >= 0 && (depth > 0 || c == ')'), "{}", text);
            }
            prop_assert_eq!(depth, 0);
            let mut numbers: Vec<usize> =
                text.split(['(', ')', ' ']).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (1..=messages.len()).collect::<Vec<_>>(), "{}", text);
            prop_assert!(!text.contains("( ") && !text.contains(" )") && !text.contains("()") && !text.contains("  "), "{}", text);
        }
    }
}
