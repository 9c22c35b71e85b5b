//! helix-bench: what the ingest costs, against the least that anybody could pay for the same (design.md section 16).
//!
//! `run` brings up a stack of its own and measures subject and floors in turn; the other verbs are the processes that
//! it starts: the load generator and the floors. A process that is measured never measures or drives itself, except
//! for the bare producer, whose pacing is measured apart and taken off. What each figure means: docs/benchmarks.md.
//!
//! | module | decides |
//! |---|---|
//! | [`run`] | what is measured, in which order |
//! | [`stack`] | which components run, and the ingest under test |
//! | [`events`], [`records`], [`frames`] | what is sent: the simulator's bodies, the ingest's own records |
//! | [`load`], [`bare_http`], [`bare_produce`] | the processes: generator and floors |
//! | [`pace`], [`cpu`], [`connection`], [`sample`] | open loop, CPU time, HTTP/1.1, what a run measured |
//! | [`figures`], [`environment`] | medians, ratios, the file and the table |

mod bare_http;
mod bare_produce;
mod connection;
mod cpu;
mod environment;
mod events;
mod figures;
mod frames;
mod load;
mod pace;
mod records;
mod run;
mod sample;
mod stack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As many as `helix` gives its own runtime.
const WORKERS: usize = 2;

/// Measures the ingest against its floors.
#[derive(Debug, Parser)]
#[command(name = "helix-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Measure everything and write the results.
    Run(run::Options),
    /// Post requests at a fixed rate and print what was measured.
    #[command(hide = true)]
    Load(load::Options),
    /// A bare axum handler.
    #[command(hide = true)]
    BareHttp(bare_http::Options),
    /// A bare producer, or its pacing alone.
    #[command(hide = true)]
    BareProduce(bare_produce::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(options) => run::run(&options),
        Verb::Load(options) => load::run(&options),
        Verb::BareHttp(options) => bare_http::run(&options),
        Verb::BareProduce(options) => bare_produce::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("helix-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
