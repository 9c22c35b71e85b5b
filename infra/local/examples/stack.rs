//! The local stack without the `helix` binary: for work on this crate alone.
//!
//! `cargo run -p helix-local --example stack -- up --home DIR [--only kafka,postgres] [--ports auto]`, and `down`,
//! `status`, `logs`, `clean`. Components that are verbs of the `helix` binary, other than the registry, cannot run here.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use helix_local::{LogsOptions, UpOptions, ports::PortChoice, registry};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _terminal_gone = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let values = |flag: &str| -> Vec<String> {
        arguments.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].clone()).collect()
    };
    let home = PathBuf::from(values("--home").pop().unwrap_or_else(|| ".helix".to_owned()));
    match arguments.first().map(String::as_str) {
        Some("up") => {
            let only = values("--only").iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
            let ports = PortChoice::read(values("--ports").pop().as_deref(), &values("--port"), std::env::vars())?;
            let detach = !arguments.iter().any(|argument| argument == "--foreground");
            helix_local::up(&UpOptions { home, ports, only, detach, ..UpOptions::default() }, &mut io::stdout())?;
        }
        Some("supervise") => helix_local::supervise(&home)?,
        Some("down") => {
            helix_local::down(&home)?;
        }
        Some("clean") => {
            helix_local::clean(&home)?;
        }
        Some("status") => {
            let report = helix_local::status(&home)?;
            let text = if arguments.iter().any(|argument| argument == "--json") {
                report.to_json()
            } else {
                report.to_string()
            };
            writeln!(io::stdout(), "{text}")?;
            return Ok(ExitCode::from(report.exit_code()));
        }
        Some("logs") => {
            let component = arguments.get(1).filter(|name| !name.starts_with('-')).cloned();
            let follow = arguments.iter().any(|argument| argument == "-f");
            helix_local::logs(&LogsOptions { home, component, follow, lines: 20 }, &mut io::stdout())?;
        }
        Some("registry") => {
            let data = PathBuf::from(values("--data").pop().ok_or("--data is missing")?);
            let listen = values("--listen").pop().ok_or("--listen is missing")?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(&listen).await?;
                let shutdown = helix_kit::http::shutdown_signal();
                registry::serve(listener, &registry::Options { data }, shutdown).await?;
                Ok::<(), Box<dyn std::error::Error>>(())
            })?;
        }
        Some(_) | None => return Err("say up, down, status, logs or clean".into()),
    }
    Ok(ExitCode::SUCCESS)
}
