//! Who kills: at random moments, and at the nasty ones.

use super::{air::Kind, rng::Rng, servers::World};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a moment is waited for.
const AIM: Duration = Duration::from_secs(2);
/// The moments of mail, of which there is always one soon.
const MAIL: [Kind; 3] = [Kind::FinalDot, Kind::LastChunk, Kind::HalfChunk];
/// Those of accounts. A rotation begins with its keyring, so its other command is aimed at by itself.
const ACCOUNTS: [&[Kind]; 4] = [
    &[Kind::SetPubkey],
    &[Kind::Xpasswd],
    &[Kind::SetPubkey, Kind::Xpasswd, Kind::Xenrol],
    &[Kind::Xkeyring],
];

/// Kills a server and starts it again until `enough`. Leaves it running.
pub async fn run(world: &World, number: usize, mut rng: Rng, enough: impl Fn() -> bool) {
    let server = &world.servers[number];
    while !enough() {
        sleep(Duration::from_millis(100 + rng.below(600) as u64)).await;
        if world.has_truce() {
            continue;
        }
        match rng.below(16) {
            // Any moment.
            0..3 => {}
            // While it shuts down.
            3 => {
                server.terminate();
                sleep(Duration::from_millis(rng.below(40) as u64)).await;
            }
            // At a command, and up to some milliseconds later.
            4..10 => {
                let kinds = [*rng.pick(&MAIL)];
                aim(world, number, &mut rng, &kinds).await;
            }
            _ => {
                let kinds = *rng.pick(&ACCOUNTS);
                aim(world, number, &mut rng, kinds).await;
            }
        }
        world.kill(number);
        // While it starts, once or more.
        while rng.one_in(8) {
            server.spawn();
            sleep(Duration::from_millis(rng.below(150) as u64)).await;
            world.kill(number);
        }
        server.spawn();
        server.ready().await;
    }
}

/// Kills at the next command of one of these kinds, if there is one soon.
async fn aim(world: &World, number: usize, rng: &mut Rng, kinds: &[Kind]) {
    let most = *rng.pick(&[1, 500, 2_000, 6_000]);
    let snapped = world.trap(number, kinds.to_vec(), Duration::from_micros(rng.below(most) as u64));
    let waited = timeout(AIM, snapped).await;
    if waited.is_err() {
        world.airs.disarm(number);
    }
}
