//! Redis: one for the telephony core, one a workspace. A cache that may be lost, bounded in memory.

use super::{Component, Process, Work};
use crate::{error::Error, files, health::Probe, home::Home, ports::Ports, process::Launch, tools::Tools};

/// The Redis called `redis-<name>`, whose password is in `secrets/redis-<name>.password`.
pub(crate) fn component(
    home: &Home,
    ports: &Ports,
    tools: &Tools,
    name: &str,
    password: &str,
) -> Result<Component, Error> {
    let component = format!("redis-{name}");
    let folder = home.data(&format!("redis/{name}"));
    files::folder(&home.data("redis"), 0o700)?;
    files::folder(&folder, 0o700)?;
    let settings = folder.join("redis.conf");
    files::write(&settings, &text(ports.of(&component), &folder.display().to_string(), password), files::PRIVATE)?;
    let launch = Launch { folder, ..Launch::new(tools.redis.clone().unwrap_or_default(), [settings]) };
    let probe = Probe::Redis {
        address: ports.address(&component),
        password: home.secrets().join(format!("redis-{name}.password")),
    };
    Ok(Component {
        port: Some(ports.of(&component)),
        needs: Vec::new(),
        work: Work::Process(Box::new(Process::new(launch, probe))),
        name: component,
    })
}

/// State and progress change in one atomic step, so what the file of appends holds after a crash is whole: at most
/// the last second is missing, and is read from the log again. A full memory refuses writes rather than evict a key:
/// a board without a part of its state would be wrong without a word.
fn text(port: u16, folder: &str, password: &str) -> String {
    format!(
        "bind 127.0.0.1\n\
         port {port}\n\
         dir \"{folder}\"\n\
         requirepass {password}\n\
         daemonize no\n\
         logfile \"\"\n\
         loglevel notice\n\
         save \"\"\n\
         appendonly yes\n\
         appendfsync everysec\n\
         maxmemory 256mb\n\
         maxmemory-policy noeviction\n\
         always-show-logo no\n"
    )
}
