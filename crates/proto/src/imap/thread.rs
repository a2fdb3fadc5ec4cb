//! THREAD (RFC 5256): conversations from what an index keeps of each message. Nothing here walks a tree by recursion: a
//! chain of 100,000 replies is as deep as it is long.

use super::{ThreadAlgorithm, casemap::casemap_start, keys::Keys, response, sort::COMPARED_MAX};
use std::collections::HashMap;

/// Most different messages that are named and not there: each costs memory (about 80 octets), and 64 of them stand in
/// every message of a hostile mailbox. What more are named bind nothing.
const UNKNOWN_MAX: usize = 250_000;
/// Steps from a message up to its ancestors in the search for a loop; only a message that two others place differently
/// needs them. Beyond, the later place counts for nothing.
const STEPS_MAX: usize = 10_000;
/// No node.
const NONE: u32 = u32::MAX;

/// What is known of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Threaded {
    /// Its number or UID, as it is told.
    pub number: u32,
    /// When it was sent: what siblings are sorted by.
    pub sent: i64,
    /// Its base subject, folded.
    pub subject: String,
    /// Something of a reply or forward was taken off the subject.
    pub is_reply: bool,
    /// Message-ID.
    pub id: Option<u64>,
    /// What it answers, oldest first.
    pub references: Vec<u64>,
}

impl Threaded {
    /// `arrived` is its INTERNALDATE.
    pub fn new(number: u32, arrived: i64, keys: &Keys) -> Self {
        Self {
            number,
            sent: keys.sent_or(arrived),
            subject: casemap_start(&keys.subject.text, COMPARED_MAX),
            is_reply: keys.subject.is_reply,
            id: keys.message_id.map(|id| id.0),
            references: keys.references.iter().map(|id| id.0).collect(),
        }
    }
}

/// `* THREAD …`
pub fn threads(out: &mut Vec<u8>, algorithm: ThreadAlgorithm, messages: &[Threaded]) {
    let threads = match algorithm {
        ThreadAlgorithm::OrderedSubject => ordered_subject(messages),
        ThreadAlgorithm::References => references(messages),
    };
    out.extend_from_slice(if threads.is_empty() { b"* THREAD" } else { b"* THREAD " });
    out.extend_from_slice(&threads);
    out.extend_from_slice(b"\r\n");
}

/// `1*thread-list` of messages (ascending by number), by subject alone (RFC 5256 §3 ORDEREDSUBJECT).
pub fn ordered_subject(messages: &[Threaded]) -> Vec<u8> {
    let mut order: Vec<&Threaded> = messages.iter().collect();
    order.sort_by(|a, b| (&a.subject, a.sent, a.number).cmp(&(&b.subject, b.sent, b.number)));
    let mut threads: Vec<&[&Threaded]> = order.chunk_by(|a, b| a.subject == b.subject).collect();
    threads.sort_by_key(|thread| thread.first().map(|first| (first.sent, first.number)));
    let mut out = Vec::new();
    for thread in threads {
        let Some((first, others)) = thread.split_first() else { continue };
        out.push(b'(');
        response::number(&mut out, u64::from(first.number));
        for (n, other) in others.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b" " } else { b"" });
            // The others answer the first one; brackets tell several children apart.
            out.extend_from_slice(if others.len() > 1 { b"(" } else { b"" });
            response::number(&mut out, u64::from(other.number));
            out.extend_from_slice(if others.len() > 1 { b")" } else { b"" });
        }
        out.push(b')');
    }
    out
}

/// `1*thread-list` of messages (ascending by number), by what they answer (RFC 5256 §3 REFERENCES).
pub fn references(messages: &[Threaded]) -> Vec<u8> {
    let mut forest = Forest::new(messages);
    forest.link_all();
    forest.prune();
    forest.join_subjects();
    forest.sort();
    forest.written()
}

/// A message in an outline of conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Which conversation, counted from 0 in their order.
    pub thread: usize,
    /// How many stand above it.
    pub depth: usize,
    /// Its number.
    pub number: u32,
}

/// The same as an outline, by what they answer alone and not by subject. A message that is not there has no line; those
/// that answer it stand as deep as they would.
pub fn outline(messages: &[Threaded]) -> Vec<Line> {
    let mut forest = Forest::new(messages);
    forest.link_all();
    forest.prune();
    forest.sort();
    let mut lines = Vec::with_capacity(messages.len());
    for (thread, root) in forest.roots.iter().enumerate() {
        let mut stack = vec![(*root, 0)];
        while let Some((at, depth)) = stack.pop() {
            lines.extend(forest.message(at).map(|message| Line { thread, depth, number: message.number }));
            stack.extend(forest.nodes[at as usize].children.iter().rev().map(|child| (*child, depth + 1)));
        }
    }
    lines
}

/// A message, or a dummy for one that is not there.
#[derive(Clone)]
struct Node {
    message: Option<u32>,
    parent: u32,
    /// How many have this one as parent.
    kids: u32,
    /// Towards a node that stands for the whole tree, and perhaps for others that were one tree with it.
    tree: u32,
    children: Vec<u32>,
}

struct Forest<'a> {
    messages: &'a [Threaded],
    nodes: Vec<Node>,
    roots: Vec<u32>,
    unknown: usize,
}

impl<'a> Forest<'a> {
    fn new(messages: &'a [Threaded]) -> Self {
        let mut forest =
            Self { messages, nodes: Vec::with_capacity(messages.len()), roots: Vec::new(), unknown: 0 };
        for at in 0..messages.len() {
            forest.add(u32::try_from(at).ok());
        }
        forest
    }

    fn add(&mut self, message: Option<u32>) -> u32 {
        let at = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Node { message, parent: NONE, kids: 0, tree: at, children: Vec::new() });
        at
    }

    fn node(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    fn message(&self, at: u32) -> Option<&'a Threaded> {
        self.messages.get(self.nodes[at as usize].message? as usize)
    }

    /// Step 1: parents by References.
    fn link_all(&mut self) {
        let mut known: HashMap<u64, u32> = HashMap::with_capacity(self.messages.len());
        for (at, message) in (0_u32..).zip(self.messages) {
            // Of several messages with one id, the first has it.
            if let Some(id) = message.id {
                known.entry(id).or_insert(at);
            }
        }
        for (at, message) in (0_u32..).zip(self.messages) {
            let mut before = NONE;
            for reference in &message.references {
                let node = match known.get(reference) {
                    Some(node) => *node,
                    None if self.unknown >= UNKNOWN_MAX => continue,
                    None => {
                        self.unknown += 1;
                        let node = self.add(None);
                        known.insert(*reference, node);
                        node
                    }
                };
                if before != NONE {
                    self.link(before, node, false);
                }
                before = node;
            }
            if before != NONE {
                self.link(before, at, true);
            }
        }
    }

    /// Makes one the parent of another, unless it has one already (and that is not to be replaced) or a loop would come
    /// of it.
    fn link(&mut self, parent: u32, child: u32, replaces: bool) {
        let old = self.node(child).parent;
        if parent == child || old == parent || old != NONE && !replaces {
            return;
        }
        let (one, other) = (self.tree(parent), self.tree(child));
        // A message without children is nobody's ancestor, and neither is one of another tree.
        if self.node(child).kids > 0 && one == other && self.descends(parent, child) {
            return;
        }
        if old != NONE {
            self.node(old).kids -= 1;
        }
        self.node(child).parent = parent;
        self.node(parent).kids += 1;
        self.node(other).tree = one;
    }

    /// What stands for the tree of a node.
    fn tree(&mut self, mut at: u32) -> u32 {
        while self.node(at).tree != at {
            let next = self.node(at).tree;
            let beyond = self.node(next).tree;
            self.node(at).tree = beyond;
            at = beyond;
        }
        at
    }

    /// Whether a node has another among its ancestors, as far as is looked.
    fn descends(&mut self, mut at: u32, ancestor: u32) -> bool {
        for _ in 0..STEPS_MAX {
            if at == ancestor {
                return true;
            }
            at = self.node(at).parent;
            if at == NONE {
                return false;
            }
        }
        true
    }

    /// Every node after its children.
    fn children_first(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut stack = self.roots.clone();
        while let Some(at) = stack.pop() {
            order.push(at);
            stack.extend_from_slice(&self.nodes[at as usize].children);
        }
        order.reverse();
        order
    }

    /// Steps 2 to 4: dummies go, and their children take their places; at the top only where it is one child.
    fn prune(&mut self) {
        for at in 0..u32::try_from(self.nodes.len()).unwrap_or(NONE) {
            match self.node(at).parent {
                NONE => self.roots.push(at),
                parent => self.node(parent).children.push(at),
            }
        }
        for at in self.children_first() {
            let children = std::mem::take(&mut self.node(at).children);
            let mut kept: Vec<u32> = Vec::with_capacity(children.len());
            for child in children {
                if self.node(child).message.is_some() {
                    kept.push(child);
                    continue;
                }
                // The longer list takes up the shorter one: a long chain of dummies is passed in little time.
                let mut promoted = std::mem::take(&mut self.node(child).children);
                if promoted.len() > kept.len() {
                    std::mem::swap(&mut promoted, &mut kept);
                }
                kept.append(&mut promoted);
            }
            self.node(at).children = kept;
        }
        let mut roots = Vec::with_capacity(self.roots.len());
        for root in std::mem::take(&mut self.roots) {
            match (self.node(root).message, self.node(root).children.as_slice()) {
                (None, []) => {}
                (None, [only]) => roots.push(*only),
                _ => roots.push(root),
            }
        }
        self.roots = roots;
        self.sort();
    }

    /// What siblings are sorted by; a dummy stands where its first child does.
    fn key(&self, at: u32) -> (i64, u32) {
        let first = self.nodes[at as usize].children.first().copied();
        let message = self.message(at).or_else(|| self.message(first?));
        message.map_or((0, 0), |message| (message.sent, message.number))
    }

    /// Step 6: siblings by date.
    fn sort(&mut self) {
        for at in self.children_first() {
            let mut children = std::mem::take(&mut self.node(at).children);
            children.sort_by_key(|child| self.key(*child));
            self.node(at).children = children;
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_key(|root| self.key(*root));
        self.roots = roots;
    }

    /// The message whose subject is that of a thread.
    fn speaker(&self, root: u32) -> Option<&'a Threaded> {
        self.message(root).or_else(|| self.message(*self.nodes[root as usize].children.first()?))
    }

    /// Step 5: threads of one subject are one.
    fn join_subjects(&mut self) {
        let roots = self.roots.clone();
        let mut table: HashMap<&'a str, u32> = HashMap::with_capacity(roots.len());
        for &root in &roots {
            let Some(speaker) = self.speaker(root).filter(|m| !m.subject.is_empty()) else { continue };
            let entry = table.entry(&speaker.subject).or_insert(root);
            let Some(held) = self.message(*entry) else { continue };
            if self.message(root).is_none() || held.is_reply && !speaker.is_reply {
                *entry = root;
            }
        }
        let mut joined = vec![false; self.nodes.len()];
        for &root in &roots {
            let Some(speaker) = self.speaker(root).filter(|m| !m.subject.is_empty()) else { continue };
            let Some(&held) = table.get(speaker.subject.as_str()) else { continue };
            if held == root || joined[root as usize] {
                continue;
            }
            joined[root as usize] = true;
            match (self.message(held), self.message(root)) {
                (None, None) => {
                    let mut children = std::mem::take(&mut self.node(root).children);
                    self.node(held).children.append(&mut children);
                }
                (None, Some(_)) => self.node(held).children.push(root),
                (Some(message), _) if speaker.is_reply && !message.is_reply => {
                    self.node(held).children.push(root);
                }
                (Some(_), _) => {
                    let dummy = self.add(None);
                    self.node(dummy).children = vec![held, root];
                    joined[held as usize] = true;
                    joined.push(false);
                    self.roots.push(dummy);
                    table.insert(&speaker.subject, dummy);
                }
            }
        }
        self.roots.retain(|root| !joined[*root as usize]);
    }

    /// `1*thread-list`
    fn written(&self) -> Vec<u8> {
        /// What is still to be written.
        enum Rest {
            Thread(u32),
            Close,
        }
        let mut out = Vec::new();
        let mut stack: Vec<Rest> = self.roots.iter().rev().map(|root| Rest::Thread(*root)).collect();
        while let Some(rest) = stack.pop() {
            let Rest::Thread(mut at) = rest else {
                out.push(b')');
                continue;
            };
            out.push(b'(');
            stack.push(Rest::Close);
            loop {
                let children = &self.nodes[at as usize].children;
                if let Some(message) = self.message(at) {
                    response::number(&mut out, u64::from(message.number));
                    out.extend_from_slice(if children.is_empty() { b"" } else { b" " });
                }
                // An only child goes on in the same brackets.
                let [only] = children.as_slice() else { break };
                at = *only;
            }
            stack.extend(self.nodes[at as usize].children.iter().rev().map(|child| Rest::Thread(*child)));
        }
        out
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
