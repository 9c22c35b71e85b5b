//! The one binary of Helix: every part of it is a verb (`helix --help`).
//!
//! Verbs only read flags and configuration and call the part they name; what a part does is in its own crate. Exit codes:
//! 0 done, 1 a check failed, 2 usage, 3 a component cannot be reached (contract.md, CLI).

mod audit;
mod automation;
mod books;
mod cli;
mod failure;
mod housekeeping;
mod past_boards;
mod projection;
mod projectors;
mod redrive;
mod replay;
mod services;
mod setup;
mod simulate;
mod stack;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, ServiceVerb, Verb},
    failure::Failure,
};

/// The system's costs projectors a quarter of their time (docs/decisions/0021).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("helix: {failure}");
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // The supervisor must stay on the main thread and outside of a runtime: the kernel ends children with the thread
    // that started them.
    let verb = match cli.verb {
        Verb::Stack(verb) => return stack::run(verb),
        Verb::Service(verb) => verb,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::check(format!("the runtime cannot start: {error}")))?;
    runtime.block_on(async move {
        let config = cli.config.as_deref();
        match verb {
            ServiceVerb::Registry(options) => services::registry(options).await,
            ServiceVerb::ClickhouseLocal(options) => services::clickhouse_local(options).await,
            ServiceVerb::Ingest => services::ingest(config).await,
            ServiceVerb::Sidecar { workspace } => services::sidecar(config, &workspace).await,
            ServiceVerb::Project { projection } => projectors::run(config, projection).await,
            ServiceVerb::Automation { rebuild } => automation::run(config, rebuild).await,
            ServiceVerb::Replay(verb) => replay::replay(config, verb).await,
            ServiceVerb::Audit(verb) => audit::audit(config, verb).await,
            ServiceVerb::Projection(verb) => projection::projection(config, verb).await,
            ServiceVerb::Redrive(verb) => redrive::redrive(config, verb).await,
            ServiceVerb::Unrouted(verb) => redrive::unrouted(config, verb).await,
            ServiceVerb::Rejected(verb) => redrive::rejected(config, verb).await,
            ServiceVerb::Simulate(options) => simulate::run(config, options).await,
            ServiceVerb::Init => housekeeping::init(config).await,
            ServiceVerb::CheckConfig => housekeeping::check_config(config),
            ServiceVerb::Healthcheck { url } => housekeeping::healthcheck(&url).await,
        }
    })
}
