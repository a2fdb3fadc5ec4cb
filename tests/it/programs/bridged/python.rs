//! IMAPClient through the bridge: its whole surface, and a mixed mailbox held against its octets.

use super::{
    super::{World, number_of, python::imapclient, tree},
    Bridged,
};
use std::fs;

#[test]
fn imapclient_idles_moves_and_searches_through_the_bridge() {
    let world = Bridged::new();
    assert!(World::succeed(&mut imapclient(&world.home, &world.login(), "client.py")).ends_with("ok\n"));
}

#[test]
fn imapclient_is_told_the_truth_of_a_mixed_mailbox() {
    let world = Bridged::new();
    let mixed = world.fill();
    let folder = world.home.at("got");
    fs::create_dir(&folder).expect("made");
    assert_eq!(World::succeed(imapclient(&world.home, &world.login(), "mixed.py").arg(&folder)), "ok\n");
    let mut numbers = Vec::new();
    for octets in tree(&folder).into_values() {
        let text = String::from_utf8(octets).expect("UTF-8");
        let number = number_of(&text).expect("a message of ours");
        world.check(&mixed[&number], &text);
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, mixed.into_keys().collect::<Vec<_>>());
}
