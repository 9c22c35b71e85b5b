//! Small verbs: init, check-config, healthcheck.

use std::{path::Path, process::ExitCode, time::Duration};

use helix_schemas::{registry::Registry, schema::SUBJECTS};

use crate::{failure::Failure, setup::load};

/// Topics, schemas and tables as this build needs them. Idempotent.
pub(crate) async fn init(config: Option<&Path>) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    let ensured = helix_local::topics::ensure(&config.log.connection(), config.log.replicas)
        .await
        .map_err(|error| Failure::unreachable("the log", &error))?;
    println!("topics made: {}; settings corrected: {}", list(&ensured.made), list(&ensured.corrected));
    let registry = Registry::new(&config.registry.url);
    for subject in &SUBJECTS {
        let ids = registry
            .register_all(subject)
            .await
            .map_err(|error| Failure::unreachable("the schema registry", &error))?;
        println!("schema {} registered as {ids:?}", subject.name());
    }
    let pool = helix_postgres::connect(config.postgres.url.reveal(), 1)
        .await
        .map_err(|error| Failure::unreachable("postgres", &error))?;
    helix_postgres::migrate(&pool).await.map_err(|error| Failure::of(1, &error))?;
    println!("postgres is at head");
    Ok(ExitCode::SUCCESS)
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Shows the configuration with secrets removed.
pub(crate) fn check_config(config: Option<&Path>) -> Result<ExitCode, Failure> {
    println!("{:#?}", load(config)?);
    Ok(ExitCode::SUCCESS)
}

/// 0 where the URL answers 200 within three seconds.
pub(crate) async fn healthcheck(url: &str) -> Result<ExitCode, Failure> {
    let answer = reqwest::Client::new()
        .get(url)
        .timeout(Duration::from_secs(3))
        .send()
        .await
        .map_err(|error| Failure::unreachable(url, &error))?;
    if answer.status().is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::check(format!("{url} answered {}", answer.status())))
}
