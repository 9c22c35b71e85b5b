//! Serves a data folder on its own: `TZ=UTC cargo run -p helix-chdb -- LIBRARY DATA LISTEN [OPTIONS]`.
//!
//! OPTIONS, each `name=value`: `password`, `users` (a users file), `policy` (`database.table.column`), `view`
//! (`database.name`), `workers`, `queue`, `max_body_bytes`, `max_result_bytes`. It prints the address it listens on,
//! then runs until its standard input ends or it is told to stop (SIGTERM, SIGINT). The tests start it as the child process they kill.

use std::io::{Read as _, Write as _};

use helix_chdb::{Access, Options, RowPolicy, Server};
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [library, data, listen, rest @ ..] = arguments.as_slice() else {
        return Err("usage: serve LIBRARY DATA LISTEN [name=value …]".into());
    };
    let mut options = Options::new(library, data, listen.parse()?);
    for argument in rest {
        let (name, value) = argument.split_once('=').ok_or("an option is name=value")?;
        apply(&mut options, name, value)?;
    }
    let server = Server::bind(options).await?;
    println!("{}", server.local_addr());
    std::io::stdout().flush()?;
    // Whoever started this may die without a word; its end of the pipe closes then.
    let (orphaned, mut orphan) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(orphaned);
    });
    let mut terminated = signal(SignalKind::terminate())?;
    let shutdown = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
            _ = &mut orphan => {}
        }
    };
    server.run(shutdown).await?;
    Ok(())
}

fn apply(options: &mut Options, name: &str, value: &str) -> Result<(), Failure> {
    let empty = || Access { users: "".into(), policies: Vec::new(), views: Vec::new() };
    match name {
        "password" => options.password = Some(value.to_owned()),
        "users" => options.access.get_or_insert_with(empty).users = value.into(),
        "view" => options.access.get_or_insert_with(empty).views.push(value.to_owned()),
        "policy" => {
            let [database, table, column] = value
                .split('.')
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .try_into()
                .map_err(|_| "a policy is database.table.column")?;
            options.access.get_or_insert_with(empty).policies.push(RowPolicy { database, table, column });
        }
        "workers" => options.workers = value.parse()?,
        "queue" => options.queue = value.parse()?,
        "max_body_bytes" => options.max_body_bytes = value.parse()?,
        "max_result_bytes" => options.max_result_bytes = value.parse()?,
        other => return Err(format!("no option {other}").into()),
    }
    Ok(())
}
