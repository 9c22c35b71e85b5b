//! Missed calls: for every caller whose calls changed, read their calls again and write the obligations that changed.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::{
    call::CallRow,
    missed::{CallerCall, MissedCallRow, obligations},
};
use helix_schemas::names::{CallId, WorkspaceId};
use sqlx::PgConnection;

use crate::{PostgresError, batch::Changes, calls::Touched, rows};

pub(crate) async fn apply(
    tx: &mut PgConnection,
    touched: &[Touched],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    if touched.is_empty() {
        return Ok(());
    }
    let mut callers: BTreeSet<(WorkspaceId, String)> = BTreeSet::new();
    let mut calls: BTreeSet<(WorkspaceId, CallId)> = BTreeSet::new();
    let mut after: Vec<MissedCallRow> = Vec::new();
    for Touched { before, after: row } in touched {
        calls.insert((row.workspace.clone(), row.call.clone()));
        for row in before.iter().chain([row]) {
            callers.extend(row.caller.clone().map(|caller| (row.workspace.clone(), caller)));
        }
        if row.caller.is_none() {
            after.extend(obligations(&row.workspace, None, &[CallerCall::of(row)]));
        }
    }
    for ((workspace, caller), rows) in calls_of(tx, &callers).await? {
        calls.extend(rows.iter().map(|row| (workspace.clone(), row.call.clone())));
        let of_caller: Vec<CallerCall> = rows.iter().map(CallerCall::of).collect();
        after.extend(obligations(&workspace, Some(&caller), &of_caller));
    }
    write_difference(tx, &calls, after, changes).await
}

async fn calls_of(
    tx: &mut PgConnection,
    callers: &BTreeSet<(WorkspaceId, String)>,
) -> Result<BTreeMap<(WorkspaceId, String), Vec<CallRow>>, PostgresError> {
    let (workspaces, numbers): (Vec<&str>, Vec<&str>) =
        callers.iter().map(|(workspace, caller)| (workspace.as_str(), caller.as_str())).unzip();
    let found = sqlx::query(
        "select held.* from read.calls as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, caller) using (workspace_id, caller)",
    )
    .bind(&workspaces)
    .bind(&numbers)
    .fetch_all(tx)
    .await?;
    let mut by_caller: BTreeMap<(WorkspaceId, String), Vec<CallRow>> = BTreeMap::new();
    for row in &found {
        let row = rows::call_row(row)?;
        if let Some(caller) = row.caller.clone() {
            by_caller.entry((row.workspace.clone(), caller)).or_default().push(row);
        }
    }
    Ok(by_caller)
}

async fn write_difference(
    tx: &mut PgConnection,
    calls: &BTreeSet<(WorkspaceId, CallId)>,
    after: Vec<MissedCallRow>,
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    let (workspaces, ids): (Vec<&str>, Vec<&str>) =
        calls.iter().map(|(workspace, call)| (workspace.as_str(), call.as_str())).unzip();
    let found = sqlx::query(
        "select held.* from read.missed_calls as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, call_id) using (workspace_id, call_id)",
    )
    .bind(&workspaces)
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await?;
    let mut before: BTreeMap<(WorkspaceId, CallId), MissedCallRow> = BTreeMap::new();
    for row in &found {
        let row = rows::missed_call_row(row)?;
        before.insert((row.workspace.clone(), row.call.clone()), row);
    }
    let mut written = Vec::new();
    for row in after {
        let held = before.remove(&(row.workspace.clone(), row.call.clone()));
        if held.as_ref() == Some(&row) {
            continue;
        }
        let change = changes.of(&row.workspace);
        held.iter().for_each(|held| change.subtract(held));
        change.add(&row);
        written.push(row);
    }
    let gone: Vec<MissedCallRow> = before.into_values().collect();
    for row in &gone {
        changes.of(&row.workspace).subtract(row);
    }
    rows::delete(tx, &gone).await?;
    rows::upsert(tx, &written).await
}
