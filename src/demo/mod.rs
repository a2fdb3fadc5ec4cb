//! `sealpost demo`: two servers and two people on one machine. Without `--keep` it tells a story and checks every
//! sentence of it; with `--keep` it sets the same up for other programs and leaves it running.

mod actor;
mod ca;
mod disk;
mod keep;
mod narrate;
mod pop3;
mod proxy;
mod story;
mod world;

use crate::{
    cli::{Demo, Global},
    context::block_on,
    exit::{Failure, Outcome},
    output::Output,
    signals,
};
use narrate::Narrator;
use std::process::ExitCode;
use story::Story;
use world::{Plan, World};

/// `sealpost demo`.
pub fn demo(args: &Demo, global: &Global, output: Output) -> Outcome {
    if args.keep {
        let dir = global.dir.as_deref().ok_or_else(|| Failure::usage("demo --keep needs --dir DIR"))?;
        return block_on(keep::keep(dir, args.no_limits, output))?;
    }
    if global.dir.is_some() {
        return Err(Failure::usage("demo takes --dir with --keep only; without it, nothing is left behind"));
    }
    let folder = tempfile::Builder::new().prefix("sealpost-demo-").tempdir()?;
    let result = block_on(tell(folder.path(), args, output))?;
    folder.close()?;
    result
}

async fn tell(folder: &std::path::Path, args: &Demo, output: Output) -> Outcome {
    let interrupted = signals::asked_to_end()?;
    tokio::pin!(interrupted);
    let plan = Plan { no_limits: false, transcripts: true, tamper: args.tamper };
    let world = tokio::select! {
        world = World::start(folder, plan) => world?,
        () = &mut interrupted => return Ok(signals::interrupted()),
    };
    let story = async { Story::new(&world, folder, Narrator::new(output))?.tell().await };
    let result = tokio::select! {
        result = story => result.map(|()| ExitCode::SUCCESS),
        () = &mut interrupted => Ok(signals::interrupted()),
    };
    world.stop().await;
    // The story has said what failed, and with --json its object is out.
    Ok(result.unwrap_or(ExitCode::FAILURE))
}
