//! helix-bench: what Helix costs, against the least that anybody could pay for the same (design.md section 16).
//!
//! `run` (the ingest), `project` (the Postgres projector), `clickhouse` (its projector) and `sse` (the live board) each bring up a
//! stack of their own and measure subject and floors in turn; the hidden verbs are processes that `run` starts: the load generator and the
//! floors. A process whose CPU is measured never measures or drives itself, except for the bare producer, whose pacing
//! is measured apart and taken off. What each figure means: docs/benchmarks.md.
//!
//! | module | decides |
//! |---|---|
//! | [`run`] | what is measured, in which order |
//! | [`stack`] | which components run, and the ingest under test |
//! | [`events`], [`records`], [`frames`] | what is sent: the simulator's bodies, the ingest's own records |
//! | [`load`], [`bare_http`], [`bare_produce`] | the processes: generator and floors |
//! | [`pace`], [`cpu`], [`connection`], [`sample`] | open loop, CPU time, HTTP/1.1, what a run measured |
//! | [`projector`] | the Postgres projector, its rebuild, and what a fact costs |
//! | [`clickhouse`] | the ClickHouse projector, its rebuild, and comparing generations |
//! | [`sse`] | webhook to frame, and one board for thousands |
//! | [`figures`], [`environment`] | medians, ratios, the file and the table |

mod bare_http;
mod bare_produce;
mod clickhouse;
mod connection;
mod cpu;
mod environment;
mod events;
mod figures;
mod frames;
mod load;
mod pace;
mod projector;
mod records;
mod run;
mod sample;
mod sse;
mod stack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in `helix`: stores are measured in this process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// As many as `helix` gives its own runtime.
const WORKERS: usize = 2;

/// Measures the ingest, the projector and the live board against their floors.
#[derive(Debug, Parser)]
#[command(name = "helix-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Measure the ingest and write the results anew.
    Run(run::Options),
    /// Measure the Postgres projector and add to the results.
    Project(projector::Options),
    /// Measure the ClickHouse projector and add to the results.
    Clickhouse(clickhouse::Options),
    /// Measure the live board's frames and add to the results.
    Sse(sse::Options),
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
        Verb::Project(options) => projector::run(&options),
        Verb::Clickhouse(options) => clickhouse::run(&options),
        Verb::Sse(options) => sse::run(&options),
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
