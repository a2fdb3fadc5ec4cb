//! Profile §4: known, unknown, not enrolled and reset users cannot be told apart by time, nor by what is said.
//!
//! Two samples of durations are compared by the Mann–Whitney test. Its effect size is what an attacker gains: the chance
//! that of two answers, one for each kind of user, the slower one is guessed right (a half where there is no difference).
//! Time on a busy machine is noise, so a difference counts only where it is large enough to be of use ([`EFFECT`]),
//! significant ([`DEVIATIONS`]), and found again in every one of [`ROUNDS`] measurements, each with twice the samples:
//! by chance in one comparison of 10^12, and there are 36. The same statistics must find the leak of an authenticator
//! that gives up early, and tell apart what differs in simulated noise and nothing else.

use super::kit::{ALICE, Kit, auth, login_hash, phc, response};
use crate::scram::Scram;
use sealpost_proto::{
    address::Address,
    base64,
    phc::LoginHash,
    sasl::{Credentials, Proof},
    time::Clock,
};
use sealpost_server::{
    admin::Request,
    auth::{AuthError, Authenticator},
};
use sealpost_store::Store;
use std::{
    collections::BTreeSet,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

/// Best guess that is still taken for none: 70 in 100 where everything but the work itself is taken away. The delays,
/// and the network, stand between this and an attacker.
const EFFECT: f64 = 0.2;
/// Standard deviations from no difference: 1 in 15,000 by chance, in each round.
const DEVIATIONS: f64 = 4.0;
/// Rounds in which a difference must be found to be one.
const ROUNDS: u32 = 3;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Known; unknown; with a code that was never used; with a new code for a forgotten password.
const USERS: [&str; 4] = [ALICE, "nobody@example.net", "carol@example.net", "bob@example.net"];

/// How far the chance that a duration of `a` is above one of `b` is from a half, and how many standard deviations.
fn mann_whitney(a: &[f64], b: &[f64]) -> (f64, f64) {
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|d| (*d, true)).chain(b.iter().map(|d| (*d, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut ranks, mut at) = (0.0, 0);
    while at < all.len() {
        let tied = all[at..].iter().take_while(|(d, _)| *d <= all[at].0).count();
        // Ties share the middle of their ranks.
        let rank = count(at) + f64::midpoint(count(tied), 1.0);
        ranks += rank * count(all[at..at + tied].iter().filter(|(_, of_a)| *of_a).count());
        at += tied;
    }
    let (n, m) = (count(a.len()), count(b.len()));
    let chance = (ranks - n * (n + 1.0) / 2.0) / (n * m);
    let deviation = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    (chance - 0.5, (chance - 0.5).abs() / deviation)
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).expect("few samples"))
}

fn differ(a: &[f64], b: &[f64]) -> bool {
    let (effect, deviations) = mann_whitney(a, b);
    effect.abs() > EFFECT && deviations > DEVIATIONS
}

/// Numbers in no order that the machine's own rhythm could follow (xorshift).
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).expect("small")).expect("small")
    }

    fn order(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..USERS.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, self.next(i + 1));
        }
        order
    }
}

/// Durations in microseconds for each of [`USERS`], interleaved.
async fn sample<F: Future<Output = ()>>(samples: usize, act: impl Fn(&'static str) -> F) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); USERS.len()];
    let mut shuffle = Shuffle(0x9e37_79b9_7f4a_7c15);
    for _ in 0..samples {
        for user in shuffle.order() {
            let begin = Instant::now();
            act(USERS[user]).await;
            times[user].push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }
    times
}

/// The users whose times differ from the known one's in every round.
async fn told_apart<F: Future<Output = ()>>(samples: usize, act: impl Fn(&'static str) -> F) -> Vec<String> {
    let mut suspects: Vec<usize> = (1..USERS.len()).collect();
    let mut said = Vec::new();
    sample(samples / 10, &act).await;
    for round in 0..ROUNDS {
        let times = sample(samples << round, &act).await;
        suspects.retain(|user| differ(&times[0], &times[*user]));
        said = suspects
            .iter()
            .map(|u| format!("{} {:.2?}", USERS[*u], mann_whitney(&times[0], &times[*u])))
            .collect();
        if suspects.is_empty() {
            break;
        }
    }
    said
}

async fn people() -> Kit {
    let kit = Kit::with("limits = { no_limits = true }").await;
    kit.people().await;
    kit.code(USERS[2]).await;
    kit.admin(Request::UserReset { address: USERS[3].to_owned() }).await;
    kit
}

fn user(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn wrong_hash() -> LoginHash {
    login_hash(99)
}

/// The work itself, without the delays that hide it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_login_is_the_same_for_every_user() {
    let kit = people().await;
    let store: Arc<dyn Store> = kit.store.clone();
    let clock: Arc<dyn Clock> = kit.clock.clone();
    let auth = Authenticator::new(store, clock, &kit.server.context.config).undelayed();
    let auth = &auth;
    let failed = |result: Result<_, AuthError>| assert!(matches!(result, Err(AuthError::Invalid)));
    let told = told_apart(200, |name| async move { drop(auth.challenge(&user(name)).await.unwrap()) }).await;
    assert!(told.is_empty(), "by the challenge: {told:?}");
    let told = told_apart(200, |name| async move {
        failed(auth.hashed_pass(&user(name), &wrong_hash(), PEER).await.map(drop));
    })
    .await;
    assert!(told.is_empty(), "by HASHEDPASS: {told:?}");
    let told = told_apart(100, |name| async move {
        failed(auth.app_password(name, TOKEN, PEER).await.map(drop));
    })
    .await;
    assert!(told.is_empty(), "by PLAIN and LOGIN: {told:?}");
    // SCRAM's challenge asks nobody: it is made of the name alone.
    let told = told_apart(200, |name| async move {
        let proof = Proof { user: name.to_owned(), proof: [9; 32], auth_message: "n=,r=".repeat(40) };
        failed(auth.check(Credentials::Scram(proof), PEER).await.map(drop));
    })
    .await;
    assert!(told.is_empty(), "by SCRAM: {told:?}");
    let told = told_apart(100, |name| async move {
        failed(auth.enrol(Some(&user(name)), "no-code-of-anybody", None, PEER).await.map(drop));
    })
    .await;
    assert!(told.is_empty(), "by XENROL: {told:?}");
}

/// What would have been found: an authenticator that gives up early for users who have no login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authenticator_that_gives_up_early_is_found_out() {
    let kit = people().await;
    let clock: Arc<dyn Clock> = kit.clock.clone();
    let auth = Authenticator::new(kit.store.clone(), clock, &kit.server.context.config).undelayed();
    let (auth, store): (_, &dyn Store) = (&auth, kit.store.as_ref());
    let told = told_apart(200, |name| async move {
        if store.login(&user(name)).await.unwrap().is_some() {
            drop(auth.hashed_pass(&user(name), &wrong_hash(), PEER).await);
        }
    })
    .await;
    // Not bob, who is reset and still has his old login.
    assert_eq!(told.len(), 2, "{told:?}");
    let told = told_apart(100, |name| async move {
        if store.account(&user(name)).await.unwrap().is_some() {
            drop(auth.app_password(name, TOKEN, PEER).await);
        }
    })
    .await;
    assert_eq!(told.len(), 1, "{told:?}");
}

/// What somebody on the network can see, over real connections: the steps in which failures are answered hide what the
/// work leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_login_tells_nothing_over_the_wire() {
    let kit = Arc::new(people().await);
    let ways: [fn(&str) -> Vec<String>; 6] = [
        |name| vec![auth(name, 99)],
        |name| {
            let wrong = base64::encode([99; 32]);
            vec![format!("AUTH HASHEDPASS {}", response(name, "")), response(name, &wrong)]
        },
        |name| vec![format!("AUTH PLAIN {}", response(name, TOKEN))],
        |name| vec![format!("AUTH SCRAM-SHA-256 {}", scram(name).first()), SCRAM_LAST.to_owned()],
        |name| vec!["AUTH LOGIN".to_owned(), base64::encode(name), base64::encode(TOKEN)],
        |name| vec![format!("XENROL {name} no-code-of-anybody-at-all {}", phc(&[77; 16], 77))],
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let (mut suspects, mut deaf) = (vec![1, 2, 3], true);
        for round in 0..ROUNDS {
            let (times, said) = over_the_wire(&kit, way, round).await;
            assert!(said[1..].iter().all(|s| *s == said[0]), "way {number}: {said:?}");
            assert!(said[0].iter().all(|s| s.contains("535 5.7.8 ")), "{said:?}");
            suspects.retain(|user| differ(&times[0], &times[*user]));
            let late: Vec<f64> = times[0].iter().map(|t| t + LATE_MICROSECONDS).collect();
            deaf &= !differ(&times[0], &late);
            if suspects.is_empty() && !deaf {
                break;
            }
        }
        let users: Vec<_> = suspects.into_iter().map(|user| USERS[user]).collect();
        assert!(users.is_empty(), "way {number} tells these apart: {users:?}");
        assert!(!deaf, "way {number}: not even an answer {LATE_MICROSECONDS} µs late was noticed");
    }
}

const TOKEN: &str = "a-token-of-nobody-at-all";
/// Stands for the answer to SCRAM's challenge.
const SCRAM_LAST: &str = "";

fn scram(name: &str) -> Scram {
    Scram::new("n,,", b"", name, TOKEN)
}

/// Had one user's answers been this late (or early), it would have been seen, on a busy machine too: a quarter of the
/// step in which failures are answered. What went past the steps, or fell into another one, would be off by a whole one.
const LATE_MICROSECONDS: f64 = 125_000.0;
const SESSIONS: u32 = 16;

/// Durations and replies for each of [`USERS`]. Every session asks for every user equally often, so that a session's own
/// luck (its place among those that wait for the same tick) falls on all of them.
async fn over_the_wire(
    kit: &Arc<Kit>,
    way: fn(&str) -> Vec<String>,
    round: u32,
) -> (Vec<Vec<f64>>, Vec<BTreeSet<String>>) {
    let mut tasks = tokio::task::JoinSet::new();
    for session in 0..SESSIONS {
        let kit = Arc::clone(kit);
        tasks.spawn(async move {
            let mut shuffle = Shuffle(0x2545_f491_4f6c_dd1d ^ u64::from(session << 8 | round));
            let mut client = kit.submission().await;
            let mut all = Vec::new();
            for user in (0..2 << round).flat_map(|_| shuffle.order()) {
                let (begin, mut said) = (Instant::now(), Vec::new());
                let mut challenge = String::new();
                for line in way(USERS[user]) {
                    let line = match line.as_str() {
                        SCRAM_LAST => scram(USERS[user]).last(&challenge),
                        _ => line,
                    };
                    let reply = client.cmd(&line).await;
                    said.push(form(&reply));
                    reply.trim_end()[4..].clone_into(&mut challenge);
                }
                all.push((user, begin.elapsed().as_secs_f64() * 1e6, said.join(" | ")));
            }
            all
        });
    }
    let (mut times, mut said) = (vec![Vec::new(); USERS.len()], vec![BTreeSet::new(); USERS.len()]);
    while let Some(done) = tasks.join_next().await {
        for (user, duration, replies) in done.unwrap() {
            times[user].push(duration);
            said[user].insert(replies);
        }
    }
    (times, said)
}

/// A reply without the letters of a salt, which differ for every user.
fn form(reply: &str) -> String {
    match reply.strip_prefix("334 ").map(|text| base64::decode(text.trim_end())) {
        Some(Ok(octets)) => {
            let text = String::from_utf8(octets).unwrap();
            if text.starts_with("r=") {
                return crate::scram::form(reply[4..].trim_end());
            }
            let (parameters, salt) = text.rsplit_once('$').unwrap_or((&text, ""));
            format!("334 {parameters} {}", salt.len())
        }
        _ => reply.to_owned(),
    }
}

/// The rates themselves, over noise as machines make it: a floor, and a long tail above it.
#[test]
fn false_alarms_are_as_rare_as_said_and_a_leak_is_found() {
    const TRIALS: u32 = 2_000;
    let mut shuffle = Shuffle(0x9e37_79b9_7f4a_7c15);
    let mut noise = |shift: f64| -> Vec<f64> {
        let mut one = || {
            let uniform = (count(shuffle.next(1 << 20)) + 1.0) / f64::from(1 << 20);
            100.0 - 10.0 * uniform.ln() + if shuffle.next(20) == 0 { 500.0 } else { 0.0 }
        };
        (0..200).map(|_| one() + shift).collect()
    };
    let mut beyond_two = 0;
    for _ in 0..TRIALS {
        let (known, same, late) = (noise(0.0), noise(0.0), noise(10.0));
        assert!(!differ(&known, &same), "a false alarm in one round of {TRIALS}");
        assert!(differ(&known, &late), "a leak as large as the noise was not found");
        beyond_two += u32::from(mann_whitney(&known, &same).1 > 2.0);
    }
    // 4.6 in 100 are beyond two deviations if the deviations are what they are said to be.
    assert!((TRIALS * 3 / 100..TRIALS * 7 / 100).contains(&beyond_two), "{beyond_two} of {TRIALS}");
}

#[test]
fn mann_whitney_of_known_samples() {
    let (effect, _) = mann_whitney(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]);
    assert!(effect.abs() < 1e-9);
    // All below: as far from a half as can be; U's deviation for 3 and 3 is sqrt(5.25), its mean 4.5.
    let (effect, deviations) = mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]);
    assert!((effect + 0.5).abs() < 1e-9 && (deviations - 4.5 / 5.25_f64.sqrt()).abs() < 1e-9);
    let same: Vec<f64> = (0..200).map(f64::from).collect();
    let shifted: Vec<f64> = same.iter().map(|d| d + 100.0).collect();
    assert!(!differ(&same, &same) && differ(&same, &shifted));
}
