//! Posts odd deliveries to a real ingest and holds its log to account: `make odd BODIES=1000000`.
//!
//! With no `--ingest` it starts a stack of its own, and ends it. Exit codes: 0 all is accounted for, 1 something is
//! not (the first delivery at fault is then in a file), 2 usage, 3 nothing could be run.

use std::{path::PathBuf, process::ExitCode, time::UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use helix_tests::{
    odd::{Keys, Mill, Options, Outcome, Target, run},
    stack::Stack,
};

/// Odd deliveries, by the million.
#[derive(Parser)]
struct Arguments {
    /// Deliveries to post.
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// Everything follows from it; a new one, and printed, where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of the first delivery: with `--seed` and `--count 1`, one of them again.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Connections at once.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// An ingest that runs already.
    #[arg(long, requires = "brokers", requires = "registry")]
    ingest: Option<String>,
    /// Its log.
    #[arg(long)]
    brokers: Option<String>,
    /// Its schema registry.
    #[arg(long)]
    registry: Option<String>,
    /// The account's secret.
    #[arg(long, env = "HELIX_INGEST_KEY", hide_env_values = true, default_value = "")]
    ingest_key: String,
    /// The secret of ramaiah's callbacks.
    #[arg(long, env = "HELIX_WEBHOOK_KEY_RAMAIAH", hide_env_values = true, default_value = "")]
    ramaiah_key: String,
    /// The secret of global's callbacks.
    #[arg(long, env = "HELIX_WEBHOOK_KEY_GLOBAL", hide_env_values = true, default_value = "")]
    global_key: String,
    /// Where summary.json and a delivery at fault are written.
    #[arg(long, default_value = "target/odd")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match go(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(3)
        }
    }
}

async fn go(arguments: Arguments) -> Result<bool> {
    let clock = || UNIX_EPOCH.elapsed().map(|since| u64::from(since.subsec_nanos())).unwrap_or_default();
    let options = Options {
        seed: arguments.seed.unwrap_or_else(clock),
        from: arguments.from,
        count: arguments.count,
        concurrency: arguments.concurrency,
    };
    println!("seed {}", options.seed);
    std::fs::create_dir_all(&arguments.out)?;
    match (&arguments.ingest, &arguments.brokers, &arguments.registry) {
        (Some(ingest), Some(brokers), Some(registry)) => {
            let target = Target { ingest: ingest.clone(), brokers: brokers.clone(), registry: registry.clone() };
            let webhooks = [("ramaiah", &arguments.ramaiah_key), ("global", &arguments.global_key)];
            let webhooks = webhooks.map(|(slug, key)| (slug.to_owned(), key.clone())).into();
            let keys = Keys { account: arguments.ingest_key.clone(), webhooks };
            post(&target, &keys, options, &arguments.out, None).await
        }
        _ => {
            let stack = Stack::start().await?;
            let (target, keys) = helix_tests::odd::own(&stack);
            let done = tokio::select! {
                done = post(&target, &keys, options, &arguments.out, Some(&stack)) => done,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            };
            stack.stop(matches!(done, Ok(true)));
            done
        }
    }
}

async fn post(
    target: &Target,
    keys: &Keys,
    options: Options,
    out: &std::path::Path,
    stack: Option<&Stack>,
) -> Result<bool> {
    ensure!(!keys.account.is_empty(), "HELIX_INGEST_KEY and the webhooks' keys must be set (`. .helix/dev.env`)");
    let mill = Mill::new(options.seed, keys.clone())?;
    let pid = stack.map(|stack| stack.pid("ingest")).transpose()?;
    let mut outcome = run(target, &mill, options).await?;
    if stack.map(|stack| stack.pid("ingest")).transpose()? != pid {
        outcome.faults.push("ingest is not the process it was".to_owned());
    }
    let summary = out.join("summary.json");
    std::fs::write(&summary, serde_json::to_vec_pretty(&outcome)?).with_context(|| summary.display().to_string())?;
    show(&outcome);
    if let Some(number) = outcome.first {
        let file = out.join(format!("{}-{number}.http", outcome.seed));
        std::fs::write(&file, mill.delivery(number).to_file(keys))?;
        println!(
            "\nThe first delivery at fault is {}; again: --seed {} --from {number} --count 1",
            file.display(),
            outcome.seed
        );
    }
    Ok(outcome.faults.is_empty())
}

fn show(outcome: &Outcome) {
    let line = |name: &str, count: &dyn std::fmt::Display| println!("  {name:<44} {count:>12}");
    let tally = &outcome.tally;
    println!("\nseed {}, deliveries {} to {}", outcome.seed, outcome.from, outcome.from + outcome.count);
    line("deliveries answered", &tally.answered);
    for (status, count) in &tally.statuses {
        line(&format!("  {status}"), count);
    }
    line("sent again after 429", &tally.sent_again);
    line("connections", &tally.connections);
    line("MiB of bodies", &(tally.bytes / 1024 / 1024));
    line("slowest answer, ms", &tally.slowest_ms);
    line("seconds", &format!("{:.1}", outcome.seconds));
    println!("answers");
    for (status, count) in &tally.results {
        line(&format!("  events {status}"), count);
    }
    for (code, count) in &tally.kept {
        line(&format!("  refused and kept: {code}"), count);
    }
    println!("the log");
    for (topic, count) in &outcome.log.appended {
        line(&format!("  appended to {topic}"), count);
    }
    line("  of them Helix's own", &outcome.log.own);
    line("  bytes as sent", &outcome.log.whole);
    line("  bytes as sent, a part of a batch", &outcome.log.part);
    line("  a secret taken out", &outcome.log.redacted);
    line("  not compared", &outcome.log.not_compared);
    if outcome.faults.is_empty() {
        println!("everything is accounted for");
    }
    for fault in &outcome.faults {
        println!("FAULT {fault}");
    }
}
