//! `make faults`: projectors that die, freeze and forget; `target/faults/results.jsonl` says what was left.

use std::{fs::File, io::Write, path::PathBuf, process::ExitCode, time::UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use helix_faults::{
    case::{Case, Storm},
    project::{self, project},
    subject::Kind,
    world::World,
};

/// Faults brought upon projectors.
#[derive(Parser)]
#[command(name = "helix-faults", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the fault matrix.
    Run(Run),
    /// The projector under test.
    #[command(hide = true)]
    Project(project::Options),
}

#[derive(clap::Args)]
struct Run {
    /// Everything follows from it; a new one, and printed, where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Rounds, each with the next seed.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Only cases whose name has this in it.
    #[arg(long, default_value = "")]
    filter: String,
    /// Where results.jsonl goes.
    #[arg(long, default_value = "target/faults")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Project(options) => project(options).await.map(|()| true),
        Verb::Run(options) => run(&options).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("helix-faults: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(options: &Run) -> Result<bool> {
    let clock = || UNIX_EPOCH.elapsed().map(|since| u64::from(since.subsec_nanos())).unwrap_or_default();
    let seed = options.seed.unwrap_or_else(clock);
    println!("seed {seed}");
    std::fs::create_dir_all(&options.out)?;
    let path = options.out.join("results.jsonl");
    let mut results = File::create(&path).with_context(|| path.display().to_string())?;
    let world = World::start(std::env::current_exe()?).await?;
    let mut good = true;
    let storm = Storm { instances: 8, partitions: 32, facts: 100_000 };
    for round in 0..options.rounds {
        for case in Case::all(storm, &[Kind::Postgres, Kind::Clickhouse]) {
            if !case.to_string().contains(&options.filter) {
                continue;
            }
            let told = tokio::select! {
                outcome = case.run(&world, seed + round) => outcome,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            };
            match told {
                Ok(outcome) => {
                    println!(
                        "{:<36} {:>8} acked {:>6} lost {:>6} double  {:>5.1} s  {}{}",
                        outcome.case,
                        outcome.acked,
                        outcome.judged.lost,
                        outcome.judged.duplicated,
                        outcome.seconds,
                        outcome.verdict,
                        outcome.judged.first.as_ref().map(|first| format!(": {first}")).unwrap_or_default(),
                    );
                    good &= outcome.judged.is_good();
                    writeln!(results, "{}", serde_json::to_string(&outcome)?)?;
                }
                Err(error) => {
                    world.end(false);
                    return Err(error.context(format!("{case}, seed {}", seed + round)));
                }
            }
        }
    }
    world.end(good);
    Ok(good)
}
