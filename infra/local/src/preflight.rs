//! What must be so before anything is started. Every complaint is one sentence that names its remedy.

use crate::{
    components::{Component, postgres},
    disk,
    error::Error,
    home::Home,
    ports::{self, Ports},
    process, tools,
    tools::Tools,
};

/// Checks everything that the chosen components need, so that all complaints come at once.
pub(crate) fn check(
    home: &Home,
    ports: &Ports,
    tools: &Tools,
    chosen: &dyn Fn(&str) -> bool,
    least_free_bytes: u64,
) -> Result<(), Error> {
    let mut complaints = Vec::new();
    path(home, &mut complaints);
    programs(home, tools, chosen, &mut complaints);
    complaints.extend(disk::complaint(home.root(), least_free_bytes)?);
    for (name, port) in ports.iter() {
        // The controller's port goes with the broker.
        let component = name.strip_suffix("-controller").unwrap_or(name);
        if chosen(component) && !ports::is_free(port) {
            complaints.push(busy(name, port));
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(Error::Preflight(complaints)) }
}

/// The sentence about a port that somebody else has.
fn busy(name: &str, port: u16) -> String {
    let by = process::listener_of(port).map_or_else(String::new, |who| format!(" by {who}"));
    let variable = ports::variable(name);
    let other = port.checked_add(10_000).unwrap_or_else(|| port.saturating_sub(10_000));
    format!(
        "port {port}, which {name} needs, is in use{by}: end that, or move {name} with {variable}={other} or \
         `--port {name}={other}`"
    )
}

/// Kafka's and Redis' settings have no way to say some characters.
fn path(home: &Home, complaints: &mut Vec<String>) {
    let unfit =
        home.root().to_str().is_none_or(|path| path.chars().any(|c| matches!(c, '"' | ',' | '\\') || c.is_control()));
    if unfit {
        complaints.push(format!(
            "the path {:?} has characters that Kafka cannot take: name another with --home",
            home.root()
        ));
    }
}

fn missing(what: &str, package: &str) -> String {
    format!("{what} is missing: `make up` installs it, or run `apt-get install {package}`")
}

fn programs(home: &Home, tools: &Tools, chosen: &dyn Fn(&str) -> bool, complaints: &mut Vec<String>) {
    let mut need = |there: bool, complaint: String| {
        if !there {
            complaints.push(complaint);
        }
    };
    need(tools.setpriv.is_some(), missing("setpriv", "util-linux"));
    if chosen("kafka") {
        match &tools.java {
            None => need(false, missing("Java", "openjdk-17-jre-headless")),
            Some(java) => {
                let version = tools::java_version(java).unwrap_or_default();
                let found = java.display();
                need(
                    version >= 17,
                    format!(
                        "{found} is Java {version} and Kafka needs 17: run `apt-get install openjdk-17-jre-headless`"
                    ),
                );
            }
        }
        let jars = &tools.kafka_jars;
        let is_there = std::fs::read_dir(jars).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("kafka_2.13-")))
        });
        need(
            is_there,
            format!("Kafka's jars are missing in {}: `scripts/install` resolves them with Maven", jars.display()),
        );
    }
    if chosen("redis-telephony") {
        need(tools.redis.is_some(), missing("redis-server", "redis-server"));
    }
    if chosen("gateway") {
        need(tools.caddy.is_some(), missing("caddy", "caddy"));
    }
    if chosen("clickhouse") {
        let library = tools.chdb.display();
        need(
            tools.chdb.is_file(),
            format!("{library} is missing: `make up` installs it, or run `npm ci` in infra/clickhouse"),
        );
    }
    if chosen("postgres") {
        need(tools.postgres.is_some(), missing("Postgres", "postgresql"));
        if process::am_root() {
            postgres_user(home, &mut need);
        }
    }
}

/// Where we are root, Postgres runs as another user, who must be able to reach the home.
fn postgres_user(home: &Home, need: &mut impl FnMut(bool, String)) {
    let name = postgres::SYSTEM_USER;
    let Some(user) = process::user(name) else {
        return need(
            false,
            format!("Postgres does not run as root and there is no user {name}: run `apt-get install postgresql`"),
        );
    };
    if let Some(barrier) = process::barrier(home.root(), &user) {
        let barrier = barrier.display();
        need(
            false,
            format!(
                "Postgres does not run as root, and user {name} may not pass {barrier}: run `chmod o+x {barrier}`, name \
                 a home elsewhere with --home, or start the stack as another user"
            ),
        );
    }
}

/// Refuses names that are no component's.
pub(crate) fn known(components: &[Component], only: &[String]) -> Result<(), Error> {
    for name in only {
        if !components.iter().any(|component| component.name == *name) {
            let all: Vec<&str> = components.iter().map(|component| component.name.as_str()).collect();
            return Err(Error::Usage(format!("no component is called {name}: there are {}", all.join(", "))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::busy;

    #[test]
    fn a_busy_port_gets_another_proposed_at_both_ends_of_the_range() {
        for (port, other) in [(80, 10_080), (4200, 14_200), (65_000, 55_000)] {
            assert!(busy("ingest", port).contains(&format!("--port ingest={other}")), "{port}");
        }
    }
}
