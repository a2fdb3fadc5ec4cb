//! Fifty megabytes in bounded memory. The peak is the process's own, so the work is done in one of its own.

use super::*;
use sealpost_client::open::Verdict;
use std::process::Command;

const NAME: &str = "message::large::a_large_attachment_goes_through_in_bounded_memory";
const CHILD: &str = "SEALPOST_TEST_LARGE_CHILD";
const OCTETS: u64 = 50 * 1024 * 1024;
/// A small part of the attachment: test binary, buffers, age's chunks.
const MAX_PEAK_KIB: u64 = 24 * 1024;

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_large_attachment_goes_through_in_bounded_memory() {
    if std::env::var_os(CHILD).is_none() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{out}");
        assert!(out.contains("peak"), "{out}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.bin");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    for i in 0..OCTETS / 8 {
        file.write_all(&i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    let mut draft = draft();
    draft.attachments = vec![path.clone()];
    let composition = compose(draft);
    let sealed = composition.sealed(&Copy::Visible, &[bob().public()], &alice()).unwrap();
    let plain = composition.plain(&alice()).unwrap();
    for outgoing in [sealed, plain] {
        let mut spool = tempfile::tempfile().unwrap();
        std::io::copy(&mut outgoing.open().unwrap(), &mut spool).unwrap();
        let mut opened = Message::read(spool).unwrap().judge(&[bob()], &facts()).unwrap();
        assert_eq!(opened.verdict, Verdict::Good);
        let folder = tempfile::tempdir().unwrap();
        let content = opened.content(false, Some(folder.path())).unwrap().unwrap();
        let attachments: Vec<_> = content.attachments().map(|a| (a.name.as_str(), a.size)).collect();
        assert_eq!(attachments, [("large.bin", OCTETS)]);
        let compared = Command::new("cmp").arg(&path).arg(&content.saved[0]).status().unwrap();
        assert!(compared.success());
    }
    let peak = peak_kib();
    println!("peak {peak} KiB");
    assert!(peak < MAX_PEAK_KIB, "{peak} KiB");
}
