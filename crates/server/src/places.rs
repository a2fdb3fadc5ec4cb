//! How many sessions there is room for: by file descriptors and by memory, so that both are refused with words
//! before they run out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sessions at once, however large the machine: beyond it one process is the wrong answer.
const SESSIONS_MAX: u64 = 16_384;
/// Descriptors that are not for sessions: the store's connections (three each), the relay's 64 connections and the
/// bodies it sends, look-ups, listeners, the control socket, and sessions that are being refused.
const RESERVE: u64 = 320;
/// A session's socket, and the files of a large message on its way in: one for mailboxes here, one for the queue.
const DESCRIPTORS_PER_SESSION: u64 = 3;
/// What a busy session may hold at most: its input, a header of up to 256 KiB, a message of up to 128 KiB for mailboxes
/// here and for the queue before it goes to files, what IMAP will want to know of it (up to 640 KiB), TLS. Idle ones
/// hold a fiftieth of it. `tests/it/load/busy.rs` holds the program to it.
const MEMORY_PER_SESSION: u64 = 1024 * 1024;

/// Raises the soft limit on descriptors to the hard one; the limit that then holds.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, "the limit on open files could not be raised");
            soft
        }
    }
}

/// Places for sessions. `wanted` (0: as many as there is room for) is bounded by descriptors in any case.
pub(crate) fn places(wanted: usize, descriptors: u64, memory: Option<u64>) -> usize {
    // Of a very small limit half is kept back.
    let for_sessions = descriptors.saturating_sub(RESERVE).max(descriptors / 2);
    let by_descriptors = (for_sessions / DESCRIPTORS_PER_SESSION).max(1);
    let wanted = match u64::try_from(wanted).unwrap_or(u64::MAX) {
        // Half of the memory; the rest is for the store's and the system's caches.
        0 => memory.map_or(SESSIONS_MAX, |m| (m / 2 / MEMORY_PER_SESSION).max(1)).min(SESSIONS_MAX),
        wanted => wanted,
    };
    // A semaphore counts no further than that, and neither do we.
    usize::try_from(wanted.min(by_descriptors).min(1 << 20)).unwrap_or(1)
}

/// Memory this process may use: the machine's, or its control group's where that is less (cgroup v2).
pub(crate) fn memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").as_deref().and_then(total);
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let limits = std::path::Path::new(group).ancestors().filter_map(|folder| {
        let folder = folder.to_str()?.trim_end_matches('/');
        read(&format!("/sys/fs/cgroup{folder}/memory.max"))?.trim().parse().ok()
    });
    limits.chain(machine).min()
}

/// `MemTotal` in octets.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    #[test]
    fn places_leave_descriptors_and_memory_for_the_rest() {
        for (wanted, descriptors, memory, places_there) in [
            (0, 1_048_576, Some(64 * GIB), 16_384),
            (0, 1_048_576, None, 16_384),
            (0, 1024, Some(64 * GIB), 234),
            (0, 64, Some(64 * GIB), 10),
            (0, 1, None, 1),
            (0, u64::MAX, Some(GIB), 512),
            (0, 65_536, Some(0), 1),
            (20_000, u64::MAX, Some(GIB), 20_000),
            (20_000, 1024, Some(GIB), 234),
            (7, 1024, None, 7),
            (usize::MAX, u64::MAX, None, 1 << 20),
        ] {
            let there = places(wanted, descriptors, memory);
            assert_eq!(there, places_there, "{wanted} {descriptors} {memory:?}");
        }
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 * 1024 * 1024));
        assert_eq!(total("MemTotal: many\n"), None);
        assert!(memory().unwrap() > 64 * 1024 * 1024);
    }
}
