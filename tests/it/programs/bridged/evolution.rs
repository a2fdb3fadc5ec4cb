//! Evolution's mail library through the bridge: `tests/interop/evolution_bridge.py`.

use super::{
    super::{World, evolution::camel, flags, number_of, tree},
    Bridged,
};
use std::fs;

#[test]
fn evolution_lists_reads_flags_and_files_through_the_bridge() {
    let world = Bridged::new();
    let mixed = world.fill();
    let folder = world.home.at("got");
    fs::create_dir(&folder).expect("made");
    let mut python = camel(&world.home, &world.login(), "evolution_bridge.py");
    assert_eq!(World::succeed(python.arg(&folder)), "ok\n");
    let mut count = 0;
    for octets in tree(&folder).into_values() {
        let text = String::from_utf8(octets).expect("UTF-8");
        let number = number_of(&text).expect("a message of ours");
        world.check(&mixed[&number], &text);
        count += 1;
    }
    assert_eq!(count, mixed.len());
    let flags = flags(&mut world.far(), "INBOX");
    assert_eq!(
        flags.values().filter(|flags| flags.contains("\\Flagged own-keyword")).count(),
        1,
        "{flags:?}"
    );
    let kept = world.straight().messages("Sent", "(BODY.PEEK[])");
    let kept = String::from_utf8_lossy(&kept[0]).into_owned();
    assert!(kept.contains("BEGIN AGE") && !kept.contains("topic55"), "{kept}");
}
