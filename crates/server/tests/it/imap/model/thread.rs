//! Threads as RFC 5256 §3 makes them, step by step, for mailboxes of a few messages.

use super::content::Look;
use std::collections::{BTreeMap, BTreeSet};

type Messages<'a> = [(u32, &'a Look)];

/// ORDEREDSUBJECT: those of one base subject, the first of them above all others.
pub(super) fn ordered(messages: &Messages<'_>) -> String {
    let mut groups: BTreeMap<usize, Vec<(u64, u32)>> = BTreeMap::new();
    for (number, look) in messages {
        groups.entry(look.base).or_default().push((look.sent, *number));
    }
    let mut groups: Vec<Vec<(u64, u32)>> = groups.into_values().collect();
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.sort_unstable();
    let write = |group: &Vec<(u64, u32)>| {
        let (first, rest) = group.split_first().expect("not empty");
        let rest: Vec<Tree> =
            rest.iter().map(|(_, number)| Tree { number: *number, below: vec![] }).collect();
        Tree { number: first.1, below: rest }.written()
    };
    groups.iter().map(write).collect()
}

/// A message and those below it; number 0 is a message that is not there.
#[derive(Debug, Clone)]
struct Tree {
    number: u32,
    below: Vec<Tree>,
}

impl Tree {
    /// `thread-list`
    fn written(&self) -> String {
        format!("({})", self.members())
    }

    /// `thread-members`, or `thread-nested` alone.
    fn members(&self) -> String {
        let number = if self.number == 0 { String::new() } else { self.number.to_string() };
        match self.below.as_slice() {
            [] => number,
            [one] if self.number > 0 => format!("{number} {}", one.members()),
            several => {
                let space = if self.number > 0 { " " } else { "" };
                format!("{number}{space}{}", several.iter().map(Tree::written).collect::<String>())
            }
        }
    }
}

/// Steps 1 to 6 of REFERENCES.
pub(super) fn references(messages: &Messages<'_>) -> String {
    let looks: BTreeMap<u32, &Look> = messages.iter().copied().collect();
    let mut all = linked(messages);
    let roots: Vec<String> = all.order.iter().filter(|id| !all.parent.contains_key(*id)).cloned().collect();
    // Step 3.
    let mut trees: Vec<Tree> = roots.iter().flat_map(|root| all.pruned(root)).collect();
    trees = trees.into_iter().flat_map(lift).collect();
    // Step 4.
    sort(&mut trees, &looks);
    by_subject(&mut trees, &looks);
    // Step 6.
    sort(&mut trees, &looks);
    trees.iter().map(Tree::written).collect()
}

/// Messages by ID, and which is above which.
struct Links {
    /// IDs as they came up.
    order: Vec<String>,
    numbers: BTreeMap<String, u32>,
    parent: BTreeMap<String, String>,
}

/// Step 1.
fn linked(messages: &Messages<'_>) -> Links {
    let mut all = Links { order: Vec::new(), numbers: BTreeMap::new(), parent: BTreeMap::new() };
    for (number, look) in messages {
        // Copies have an ID that was there before: they get one of their own.
        let id = if all.numbers.contains_key(&look.id) { format!("{number} again") } else { look.id.clone() };
        for pair in look.references.windows(2) {
            all.meet(&pair[0]);
            all.meet(&pair[1]);
            if !all.parent.contains_key(&pair[1]) && !all.is_above(&pair[1], &pair[0]) {
                all.parent.insert(pair[1].clone(), pair[0].clone());
            }
        }
        all.meet(&id);
        all.numbers.insert(id.clone(), *number);
        all.parent.remove(&id);
        if let Some(last) = look.references.last() {
            all.meet(last);
            if !all.is_above(&id, last) {
                all.parent.insert(id, last.clone());
            }
        }
    }
    all
}

impl Links {
    fn meet(&mut self, id: &str) {
        if !self.order.iter().any(|known| known == id) {
            self.order.push(id.to_owned());
        }
    }

    /// Whether one is the other, or above it.
    fn is_above(&self, one: &str, other: &str) -> bool {
        let mut at = other;
        loop {
            if at == one {
                return true;
            }
            match self.parent.get(at) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }

    /// What is not there and has nothing below it goes; below the root its children take its place.
    fn pruned(&mut self, id: &str) -> Vec<Tree> {
        let below: Vec<String> = self
            .order
            .iter()
            .filter(|child| self.parent.get(*child).is_some_and(|p| p == id))
            .cloned()
            .collect();
        let below: Vec<Tree> = below.iter().flat_map(|child| self.pruned(child)).collect();
        match self.numbers.get(id) {
            Some(number) => vec![Tree { number: *number, below }],
            None if self.parent.contains_key(id) => below,
            None if below.is_empty() => Vec::new(),
            None => vec![Tree { number: 0, below }],
        }
    }
}

/// At the root a message that is not there gives way to its only child.
fn lift(tree: Tree) -> Vec<Tree> {
    if tree.number == 0 && tree.below.len() == 1 { tree.below } else { vec![tree] }
}

/// Siblings by date, the lowest first. What is not there counts as its first child.
fn sort(trees: &mut [Tree], looks: &BTreeMap<u32, &Look>) {
    for tree in trees.iter_mut() {
        sort(&mut tree.below, looks);
    }
    trees.sort_by_key(|tree| (looks[&first(tree)].sent, first(tree)));
}

/// The message itself, or its first child.
fn first(tree: &Tree) -> u32 {
    if tree.number > 0 { tree.number } else { first(&tree.below[0]) }
}

/// Step 5: threads of one base subject become one.
fn by_subject(trees: &mut Vec<Tree>, looks: &BTreeMap<u32, &Look>) {
    let base = |tree: &Tree| looks[&first(tree)].base;
    let is_reply = |tree: &Tree| looks[&first(tree)].is_reply;
    // Step 5.B: which of them the others are put to, by its place.
    let mut table: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, tree) in trees.iter().enumerate() {
        let chosen = table.entry(base(tree)).or_insert(at);
        let table_tree = &trees[*chosen];
        if table_tree.number > 0 && (tree.number == 0 || is_reply(table_tree) && !is_reply(tree)) {
            *chosen = at;
        }
    }
    // Step 5.C.
    let mut gone = BTreeSet::new();
    for at in 0..trees.len() {
        let chosen = table[&base(&trees[at])];
        if chosen == at {
            continue;
        }
        let current = trees[at].clone();
        gone.insert(at);
        let replies = is_reply(&current) && !is_reply(&trees[chosen]);
        let target = &mut trees[chosen];
        match (target.number, current.number) {
            (0, 0) => target.below.extend(current.below),
            (0, _) => target.below.push(current),
            _ if replies => target.below.push(current),
            _ => {
                let both = vec![target.clone(), current];
                *target = Tree { number: 0, below: both };
            }
        }
    }
    let mut at = 0;
    trees.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
}
