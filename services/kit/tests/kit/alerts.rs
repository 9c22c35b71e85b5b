//! The alerts of infra/prometheus watch metrics that there are, and say what to do.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of every source file of a product crate; tests do not emit what production shows.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "examples", "benches", "node_modules", "target"].contains(&name.as_str()) {
            sources(&path, into);
        } else if name.ends_with(".rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Every word of `text` that begins as a metric of ours does.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("helix_"))
        .collect()
}

#[test]
fn every_metric_of_an_alert_is_one_of_the_source() {
    let alerts = read("infra/prometheus/alerts.yml");
    let watched = metrics(&alerts);
    assert!(watched.len() > 10, "too few to be all: {watched:?}");
    let mut source = String::new();
    for folder in ["services", "projections"] {
        sources(&root().join(folder), &mut source);
    }
    for metric in watched {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
        let name = histogram.unwrap_or(metric);
        assert!(source.contains(&format!("\"{name}\"")), "no source names the metric {metric}");
    }
}

#[test]
fn every_alert_says_how_urgent_it_is_and_where_to_read_on() {
    let alerts = read("infra/prometheus/alerts.yml");
    let runbook = read("docs/runbook.md");
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(|letter| letter.is_alphanumeric() || " -".contains(*letter)).collect())
        .map(|heading: String| heading.replace(' ', "-"))
        .collect();
    let mut rules = alerts.split("- alert: ");
    rules.next();
    let mut seen = BTreeSet::new();
    for rule in rules {
        let name = rule.lines().next().unwrap().trim();
        assert!(seen.insert(name), "{name} is there twice");
        assert!(rule.contains("severity: page") != rule.contains("severity: ticket"), "{name} has no severity");
        let (_, target) =
            rule.split_once("runbook: docs/runbook.md#").unwrap_or_else(|| panic!("{name} has no runbook"));
        let target = target.split_whitespace().next().unwrap();
        assert!(anchors.contains(target), "{name}: docs/runbook.md has no heading #{target}");
        assert!(runbook.contains(&format!("`{name}`")), "docs/runbook.md does not speak of {name}");
    }
}

#[test]
fn every_service_of_the_compose_file_that_has_metrics_is_asked() {
    let compose = read("docker-compose.yml");
    let prometheus = read("infra/prometheus/prometheus.yml");
    let asked: Vec<&str> = prometheus.split('"').filter(|word| word.contains(':') && !word.contains(' ')).collect();
    assert!(asked.len() > 5, "{asked:?}");
    for target in &asked {
        let (service, _) = target.split_once(':').unwrap();
        assert!(compose.contains(&format!("\n  {service}:\n")), "docker-compose.yml has no service {service}");
    }
    // A service of ours says in its health check where it listens.
    for address in compose.split("http://127.0.0.1:").skip(1).filter_map(|rest| rest.split_once("/readyz")) {
        let port = address.0;
        let named = prometheus.contains(&format!("port: {port} }}"));
        assert!(named || asked.iter().any(|target| target.ends_with(&format!(":{port}"))), "nobody asks port {port}");
    }
}
