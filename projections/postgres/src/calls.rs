//! Calls: load the joins of the batch's calls, join, write back what changed.

use std::collections::BTreeMap;

use helix_fold::call::{CallRow, CallState};
use helix_schemas::{
    fact::Fact,
    names::{CallId, WorkspaceId},
};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row as _};

use crate::{
    AllSettings, PostgresError,
    batch::Changes,
    rows::{self, bad},
};

/// A call whose row changed: what it was and what it is.
pub(crate) struct Touched {
    pub(crate) before: Option<CallRow>,
    pub(crate) after: CallRow,
}

pub(crate) async fn apply(
    tx: &mut PgConnection,
    settings: &AllSettings,
    by_call: &BTreeMap<(WorkspaceId, CallId), Vec<&Fact>>,
    changes: &mut Changes,
) -> Result<Vec<Touched>, PostgresError> {
    if by_call.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<(&str, &str)> = by_call.keys().map(|(workspace, call)| (workspace.as_str(), call.as_str())).collect();
    let mut states = load_states(tx, &keys).await?;
    let mut rows_before = load_rows(tx, &keys).await?;
    let mut new_states: Vec<Value> = Vec::new();
    let mut touched: Vec<Touched> = Vec::new();
    for ((workspace, call), facts) in by_call {
        let key = (workspace.clone(), call.clone());
        let held = states.remove(&key);
        let mut state = held.clone().unwrap_or_default();
        facts.iter().for_each(|fact| state.apply(fact));
        if held.as_ref() == Some(&state) {
            continue;
        }
        let state_json = serde_json::to_value(&state).map_err(|error| bad("helix.call_states", error))?;
        new_states.push(json!({"workspace_id": workspace, "call_id": call, "state": state_json}));
        let before = rows_before.remove(&key);
        let Some(after) = state.row(workspace, call, &settings.of(workspace)) else {
            continue;
        };
        if before.as_ref() == Some(&after) {
            continue;
        }
        let change = changes.of(workspace);
        before.iter().for_each(|row| change.subtract(row));
        change.add(&after);
        touched.push(Touched { before, after });
    }
    store_states(tx, new_states).await?;
    let rows: Vec<CallRow> = touched.iter().map(|touched| touched.after.clone()).collect();
    rows::upsert(tx, &rows).await?;
    Ok(touched)
}

async fn load_states(
    tx: &mut PgConnection,
    keys: &[(&str, &str)],
) -> Result<BTreeMap<(WorkspaceId, CallId), CallState>, PostgresError> {
    const TABLE: &str = "helix.call_states";
    let (workspaces, calls): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    let rows = sqlx::query(
        "select held.workspace_id, held.call_id, held.state from helix.call_states as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, call_id) using (workspace_id, call_id)",
    )
    .bind(&workspaces)
    .bind(&calls)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            let call = CallId::new(row.try_get("call_id")?).map_err(|error| bad(TABLE, error))?;
            let state: Value = row.try_get("state")?;
            let state = serde_json::from_value(state).map_err(|error| bad(TABLE, error))?;
            Ok(((rows::workspace(TABLE, row)?, call), state))
        })
        .collect()
}

async fn load_rows(
    tx: &mut PgConnection,
    keys: &[(&str, &str)],
) -> Result<BTreeMap<(WorkspaceId, CallId), CallRow>, PostgresError> {
    let (workspaces, calls): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    let rows = sqlx::query(
        "select held.* from read.calls as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, call_id) using (workspace_id, call_id)",
    )
    .bind(&workspaces)
    .bind(&calls)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            let row = rows::call_row(row)?;
            Ok(((row.workspace.clone(), row.call.clone()), row))
        })
        .collect()
}

async fn store_states(tx: &mut PgConnection, states: Vec<Value>) -> Result<(), PostgresError> {
    if states.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into helix.call_states select * from jsonb_populate_recordset(null::helix.call_states, $1)
         on conflict (workspace_id, call_id) do update set state = excluded.state",
    )
    .bind(Value::Array(states))
    .execute(tx)
    .await?;
    Ok(())
}
