//! Verbs that serve.

use std::{path::Path, process::ExitCode};

use helix_chdb::{Access, RowPolicy};
use helix_kit::{
    config::Config,
    http::{bind, shutdown_signal},
    telemetry,
};

use helix_schemas::names::WorkspaceId;
use helix_sidecar::Extensions;

use crate::{
    cli::{ClickhouseLocalOptions, RegistryOptions},
    failure::Failure,
    past_boards::FromLog,
    setup::{load, metrics, settings},
};

pub(crate) async fn ingest(config: Option<&Path>) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    telemetry::start_logs(&config.telemetry);
    let listener = bind(config.ingest.listen, "ingest").await?;
    helix_ingest::run(config, listener, metrics("ingest")?, shutdown_signal())
        .await
        .map_err(|error| Failure::of(1, &error))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn sidecar(config: Option<&Path>, workspace: &str) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    telemetry::start_logs(&config.telemetry);
    let Some(own) = config.workspaces.get(workspace) else {
        return Err(Failure::usage(format!("there is no workspace {workspace} in the configuration")));
    };
    let listener = bind(own.sidecar_listen, "the sidecar").await?;
    let slug = WorkspaceId::new(workspace).map_err(|error| Failure::of(2, &error))?;
    let own_settings = settings(&config)?.get(&slug).cloned().unwrap_or_default();
    let past_boards = FromLog::new(config.clone(), slug, own_settings);
    let extensions = Extensions { past_boards: Some(past_boards), routes: None };
    helix_sidecar::run_with(config, workspace, listener, metrics("sidecar")?, shutdown_signal(), extensions)
        .await
        .map_err(|error| Failure::of(1, &error))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn registry(options: RegistryOptions) -> Result<ExitCode, Failure> {
    telemetry::start_logs(&Config::load(None)?.telemetry);
    let listener = bind(options.listen, "the schema registry").await?;
    let own = helix_local::registry::Options { data: options.data };
    helix_local::registry::serve(listener, &own, shutdown_signal()).await.map_err(|error| Failure::of(1, &error))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn clickhouse_local(options: ClickhouseLocalOptions) -> Result<ExitCode, Failure> {
    telemetry::start_logs(&Config::load(None)?.telemetry);
    let database = Config::load(None)?.clickhouse.database;
    let table = |name: &str| RowPolicy {
        database: database.clone(),
        table: name.to_owned(),
        column: "workspace_id".to_owned(),
    };
    let mut own = helix_chdb::Options::new(options.library, options.data, options.listen);
    own.access = options.users.map(|users| Access {
        users,
        policies: helix_clickhouse::WORKSPACE_TABLES.iter().map(|name| table(name)).collect(),
        views: helix_clickhouse::WORKSPACE_VIEWS.iter().map(|name| format!("{database}.{name}")).collect(),
    });
    helix_chdb::serve(own, shutdown_signal()).await.map_err(|error| Failure::of(1, &error))?;
    Ok(ExitCode::SUCCESS)
}
