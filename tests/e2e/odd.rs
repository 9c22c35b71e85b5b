//! Malformed and odd deliveries: every one is answered and accounted for, and what became facts is folded like any other.

use std::time::Duration;

use anyhow::{Context, ensure};
use helix_tests::{
    cli,
    odd::{self, Mill, Options},
    stack::{Stack, until},
};
use serde_json::Value;

use crate::Outcome;

/// Deliveries; `make odd BODIES=1000000` posts more of them.
const COUNT: u64 = 20_000;

pub(crate) async fn every_odd_delivery_is_answered_and_accounted_for(stack: &Stack) -> Outcome {
    let seed = match std::env::var("HELIX_SEED").ok().as_deref() {
        None => 20_260_324,
        Some("fresh") => u64::from(std::time::UNIX_EPOCH.elapsed()?.subsec_nanos()),
        Some(number) => number.parse().context("HELIX_SEED")?,
    };
    println!("seed {seed}");
    let ingest = stack.pid("ingest")?;
    let (target, keys) = odd::own(stack);
    let mill = Mill::new(seed, keys.clone())?;
    let outcome = odd::run(&target, &mill, Options { seed, from: 0, count: COUNT, concurrency: 32 }).await?;
    if let Some(number) = outcome.first {
        let file = stack.home().join(format!("odd-{seed}-{number}.http"));
        std::fs::write(&file, mill.delivery(number).to_file(&keys))?;
        eprintln!("the first delivery at fault is {}", file.display());
    }
    ensure!(outcome.faults.is_empty(), "seed {seed}: {:#?}", outcome.faults);
    ensure!(ingest.is_some() && stack.pid("ingest")? == ingest, "ingest is not the process it was");
    // The generator is worth something only while it meets every answer there is, and what is stored can be compared.
    let met = |name: &str| outcome.tally.results.contains_key(name);
    ensure!(["stored", "duplicate", "unrouted", "rejected"].into_iter().all(met), "{:?}", outcome.tally.results);
    ensure!(outcome.tally.kept.len() >= 5, "{:?}", outcome.tally.kept);
    ensure!(outcome.log.not_compared * 1000 <= outcome.log.whole, "{} records not compared", outcome.log.not_compared);

    until(Duration::from_secs(600), "postgres has applied every fact of them", async || {
        let standings = cli::succeed(&stack.config(), &["projection", "list", "--json"])?;
        let standings: Value = serde_json::from_str(&standings)?;
        Ok(standings.as_array().context("standings")?.iter().all(|one| one["lag"] == 0))
    })
    .await?;
    cli::succeed(&stack.config(), &["audit", "verify"])?;
    Ok(())
}
