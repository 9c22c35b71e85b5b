//! Verbs of the local stack.

use std::{io, process::ExitCode};

use helix_local::{LogsOptions, UpOptions, ports::PortChoice, workspaces::Workspace};

use crate::{
    cli::{StackVerb, UpArgs},
    failure::Failure,
};

// By value, so that it serves as the closure of a `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn failed(error: helix_local::Error) -> Failure {
    Failure::of(error.exit_code(), &error)
}

pub(crate) fn run(verb: StackVerb) -> Result<ExitCode, Failure> {
    let mut out = io::stdout();
    match verb {
        StackVerb::Up(args) => up(args)?,
        StackVerb::Down(args) => {
            let ran = helix_local::down(&args.home).map_err(failed)?;
            println!("{}", if ran { "stopped; data is kept" } else { "nothing was running" });
        }
        StackVerb::Status { home, json } => {
            let report = helix_local::status(&home.home).map_err(failed)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&report).map_err(|error| Failure::of(1, &error))?);
            } else {
                print!("{report}");
            }
            return Ok(ExitCode::from(report.exit_code()));
        }
        StackVerb::Logs { component, home, follow, lines } => {
            let options = LogsOptions { home: home.home, component, follow, lines };
            helix_local::logs(&options, &mut out).map_err(failed)?;
        }
        StackVerb::Clean(args) => {
            for left in helix_local::clean(&args.home).map_err(failed)? {
                println!("left alone, as it is none of ours: {left}");
            }
            println!("stopped and removed");
        }
        StackVerb::Supervise(args) => helix_local::supervise(&args.home).map_err(failed)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(args: UpArgs) -> Result<(), Failure> {
    let ports = PortChoice::read(args.choose_ports.as_deref(), &args.ports, std::env::vars()).map_err(failed)?;
    let options = UpOptions {
        home: args.home.home,
        ports,
        detach: args.detach,
        only: args.only,
        workspaces: Workspace::demo(),
        ..UpOptions::default()
    };
    helix_local::up(&options, &mut io::stdout()).map_err(failed)
}
