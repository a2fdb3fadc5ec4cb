//! What a core dump of a process would hold, read while it runs: all that it can write to. Nothing but /proc is needed,
//! so this works where no debugger is and where `ptrace` is forbidden, as in most containers; a parent may read its
//! children's memory under Yama too. Ours forbid it to all but root, so elsewhere this is not searched.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    process::Command,
};

const PAGE_OCTETS: usize = 4_096;

/// Octets that lie beside each other in memory, and where they begin.
#[derive(Clone)]
pub struct Stretch {
    pub begin: u64,
    /// What /proc calls it: `[heap]`, `[stack]`, a file, or nothing, which are other heaps and the stacks of threads.
    pub name: String,
    pub octets: Vec<u8>,
}

/// What the process has in pages it can write to, without those that are empty.
pub fn image(pid: u32) -> io::Result<Vec<Stretch>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut stretches: Vec<Stretch> = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let bounds =
            range.split_once('-').map(|(a, b)| (u64::from_str_radix(a, 16), u64::from_str_radix(b, 16)));
        let Some((Ok(begin), Ok(end))) = bounds else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let name = words.nth(3).unwrap_or_default();
        let mut page = [0; PAGE_OCTETS];
        for at in (begin..end).step_by(PAGE_OCTETS) {
            // What was unmapped meanwhile is in no dump either.
            if memory.read_exact_at(&mut page, at).is_err() || page.iter().all(|octet| *octet == 0) {
                continue;
            }
            match stretches.last_mut() {
                Some(last) if last.begin + last.octets.len() as u64 == at && last.name == name => {
                    last.octets.extend_from_slice(&page);
                }
                _ => stretches.push(Stretch { begin: at, name: name.to_owned(), octets: page.to_vec() }),
            }
        }
    }
    Ok(stretches)
}

/// Whether this machine lets a parent read its children's memory at all; where it does, what is known to be there is
/// found.
pub fn is_readable() -> bool {
    const HELD: &str = "in the environment, which is on the stack 92ab";
    let mut child = Command::new("sleep").arg("100").env("HELD", HELD).spawn().expect("it starts");
    let read = image(child.id());
    drop(child.kill());
    drop(child.wait());
    match read {
        Ok(stretches) => {
            let held = |stretch: &Stretch| stretch.octets.windows(HELD.len()).any(|w| w == HELD.as_bytes());
            assert!(stretches.iter().any(held), "memory can be read, and what is in it was not found");
            true
        }
        Err(error) => {
            eprintln!(
                "this machine lets nobody read the memory of their own children ({error}): not searched"
            );
            false
        }
    }
}
