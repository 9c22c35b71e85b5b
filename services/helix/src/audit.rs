//! `helix audit`: stored rows proved by the log.

use std::{collections::BTreeSet, path::Path, process::ExitCode};

use helix_kit::config::Config;
use helix_postgres::AllSettings;
use helix_replay::{
    log::{FactLog, Place, Stop},
    verify::{
        BoardToVerify, Difference, OTHER_SETTINGS, Report, WorkspaceReport, verify_clickhouse, verify_live,
        verify_postgres,
    },
};
use helix_runtime::ParkedEntry;
use helix_schemas::names::WorkspaceId;
use serde_json::{Value, json};

use crate::{
    cli::{AuditVerb, Projection},
    failure::Failure,
    replay::{pool, slug, tell},
    setup::{clickhouse_options, load, settings},
};

pub(crate) async fn audit(config: Option<&Path>, verb: AuditVerb) -> Result<ExitCode, Failure> {
    let AuditVerb::Verify { workspace, projection, json } = verb;
    let config = load(config)?;
    let only = workspace.as_deref().map(slug).transpose()?;
    let asked = match projection {
        Some(Projection::Forward) => return Err(Failure::usage("forward keeps no rows: there is nothing to verify")),
        Some(one) => vec![one],
        None => vec![Projection::Postgres, Projection::Clickhouse, Projection::Live],
    };
    let stop = Stop::on_ctrl_c();
    let mut reports = Vec::new();
    for projection in asked {
        let log = FactLog::open(&config).await?;
        reports.push(verify(&config, log, projection, only.clone(), stop.clone()).await?);
    }
    if json {
        let first = reports.iter().find_map(first_difference);
        tell(&json!({"agrees": first.is_none(), "firstDifference": first, "reports": reports}))?;
    } else {
        reports.iter().for_each(show);
    }
    Ok(if reports.iter().all(Report::agrees) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn verify(
    config: &Config,
    log: FactLog,
    projection: Projection,
    only: Option<WorkspaceId>,
    stop: Stop,
) -> Result<Report, Failure> {
    Ok(match projection {
        Projection::Postgres | Projection::Forward => {
            let all = AllSettings(settings(config)?);
            verify_postgres(log, &pool(config).await?, &all, only, stop).await?
        }
        Projection::Clickhouse => {
            let options = clickhouse_options(config);
            let unreachable = |error| Failure::unreachable("clickhouse", &error);
            let audit = helix_clickhouse::audit::Audit::new(&options).map_err(unreachable)?;
            let parked = helix_clickhouse::parked(&options).await.map_err(unreachable)?;
            verify_clickhouse(log, audit, places(&parked), only, stop).await?
        }
        Projection::Live => verify_live(log, boards(config, only.as_ref()).await?, stop).await?,
    })
}

fn places(entries: &[ParkedEntry]) -> BTreeSet<Place> {
    entries.iter().map(|entry| Place { partition: entry.partition, offset: entry.parked.offset.0 }).collect()
}

async fn boards(config: &Config, only: Option<&WorkspaceId>) -> Result<Vec<BoardToVerify>, Failure> {
    let mut boards = Vec::new();
    for (workspace, settings) in settings(config)? {
        let Some(own) = config.workspaces.get(workspace.as_str()) else { continue };
        if only.is_none_or(|only| *only == workspace) {
            let redis_url = own.redis_url.reveal().to_owned();
            let parked = helix_live::parked(&redis_url, &workspace).await;
            let parked = parked.map_err(|error| Failure::unreachable("the workspace's Redis", &error))?;
            boards.push(BoardToVerify { workspace, settings, redis_url, parked: places(&parked) });
        }
    }
    if let (Some(only), true) = (only, boards.is_empty()) {
        return Err(Failure::usage(format!("workspace {only} is not configured")));
    }
    Ok(boards)
}

fn first_difference(report: &Report) -> Option<Value> {
    report.workspaces.iter().find_map(|one| {
        let difference = one.difference.as_ref()?;
        Some(json!({"projection": report.projection, "workspace": one.workspace, "difference": difference}))
    })
}

fn show(report: &Report) {
    let parked = if report.parked > 0 { format!(", {} parked", report.parked) } else { String::new() };
    println!("projection {}: {} facts folded{parked}", report.projection, report.facts);
    report.workspaces.iter().for_each(|workspace| show_workspace(&report.projection, workspace));
}

fn show_workspace(projection: &str, workspace: &WorkspaceReport) {
    let WorkspaceReport { workspace: name, rows, root, difference } = workspace;
    match difference {
        None => println!("  {name:<16} {rows:>8} rows, root {root} meets"),
        Some(Difference { table, key, stored, folded, .. }) if table == OTHER_SETTINGS => {
            println!("  {name:<16} {rows:>8} rows, root {root} meets, MADE WITH OTHER SETTINGS");
            println!(
                "    made with other settings: {key}; run `helix projection rebuild {projection} --workspace {name} --cut-over`"
            );
            println!("      made with:  {stored}");
            println!("      configured: {folded}");
        }
        Some(Difference { table, key, column, stored, folded }) => {
            let column = column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default();
            println!("  {name:<16} {rows:>8} rows, DIFFERS");
            println!("    first difference: {projection}.{table}, row {key}{column}");
            println!("      stored: {stored}");
            println!("      log:    {folded}");
        }
    }
}
