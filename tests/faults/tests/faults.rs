//! The fault matrix as tests: every crash point, the zombie and the lost answer of every store, and a storm on Postgres.
//!
//! `make faults` runs the same with more storms and any seed. The seed of a failure is in its words.

use std::{path::PathBuf, sync::Arc, time::UNIX_EPOCH};

use helix_faults::{
    case::{Case, Storm},
    subject::Kind,
    world::World,
};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

fn main() {
    let mut arguments = Arguments::from_args();
    // One stack on few cores, and cases that wait for time-outs of real groups.
    arguments.test_threads = Some(1);
    let storm = Storm { instances: 8, partitions: 32, facts: 100_000 };
    let cases = Case::all(storm, &[Kind::Postgres]);
    if arguments.list {
        let names = cases.iter().map(|case| Trial::test(case.to_string(), || Ok(()))).collect();
        libtest_mimic::run(&arguments, names).exit();
    }
    let seed = UNIX_EPOCH.elapsed().map(|since| u64::from(since.subsec_nanos())).unwrap_or_default();
    println!("seed {seed}");
    let started = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let world = runtime.block_on(World::start(PathBuf::from(env!("CARGO_BIN_EXE_helix-faults"))))?;
        Ok((Arc::new(runtime), Arc::new(world)))
    });
    let (runtime, world) = match started {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    };
    let trials = cases
        .into_iter()
        .map(|case| {
            let (runtime, world) = (runtime.clone(), world.clone());
            Trial::test(case.to_string(), move || {
                let outcome = runtime.block_on(case.run(&world, seed));
                let outcome = outcome.map_err(|error| Failed::from(format!("seed {seed}: {error:#}")))?;
                if outcome.judged.is_good() { Ok(()) } else { Err(Failed::from(format!("{outcome:?}"))) }
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    world.end(!conclusion.has_failed());
    conclusion.exit();
}
