//! What no bridge can be quicker than: the cryptography alone of sealed messages that are opened for the first time, on all
//! cores. One X25519, one Ed25519 over what was sent, the payload. Nothing is read, parsed or stored.
//!
//! usage: opening [messages, 10000] [octets, 4096] [rounds, 5]

use sealpost_crypto::{
    key::SecretKey,
    seal::{Identities, open_keyed, seal_armoured},
};
use std::{
    error::Error,
    io::{Read as _, Write as _},
    thread::{available_parallelism, scope},
    time::Instant,
};

/// Messages made; each is opened many times over.
const MADE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (messages, octets, rounds) = (argument(10_000)?, argument(4_096)?, argument(5)?);
    let (alice, bob) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
    let made = (0..MADE).map(|n| {
        let mut sealer = seal_armoured(&[bob.public(), alice.public()], Vec::new())?;
        sealer.write_all(&vec![u8::try_from(n)?; octets])?;
        let armour = sealer.finish()?;
        let signature = alice.sign(&armour);
        Ok((armour, signature))
    });
    let made = made.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let (signer, identities) = (alice.public(), Identities::new(vec![bob])?);
    let open = |n: usize| -> bool {
        let (armour, signature) = &made[n % MADE];
        let mut plain = Vec::with_capacity(octets);
        signer.verify(armour, signature).is_ok()
            && open_keyed(&identities, &armour[..])
                .is_ok_and(|(mut file, _)| file.read_to_end(&mut plain).is_ok())
            && plain.len() == octets
    };
    let cores = available_parallelism()?.get();
    let mut seconds = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let good = scope(|threads| {
            let each: Vec<_> = (0..cores)
                .map(|core| threads.spawn(move || (core..messages).step_by(cores).all(open)))
                .collect();
            each.into_iter().all(|thread| thread.join().unwrap_or(false))
        });
        if !good {
            return Err("a message did not open".into());
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!("{:.3}", seconds[seconds.len() / 2]);
    Ok(())
}
