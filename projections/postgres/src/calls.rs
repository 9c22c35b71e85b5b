//! Calls and their legs: load the joins of the batch's calls, join, write back what changed.

use std::collections::BTreeMap;

use helix_fold::{
    call::{CallLegRow, CallRow, CallRows, CallState, Handling},
    row::Columns as _,
};
use helix_schemas::{
    fact::Fact,
    names::{CallId, WorkspaceId},
};
use sqlx::{PgConnection, Row as _};

use crate::{
    AllSettings, PostgresError,
    batch::Changes,
    columns::Table,
    rows::{self, bad},
};

const STATES: &str = "call_states";

/// A call of which something was learnt: what its row was and what it is.
pub(crate) struct Touched {
    pub(crate) before: Option<CallRow>,
    pub(crate) after: CallRow,
    /// What people had done about it, where it was missed,
    pub(crate) handling_before: Handling,
    /// and what they have now. No part of the row, so it may change alone.
    pub(crate) handling: Handling,
}

/// What is stored of a call.
#[derive(Default)]
struct Held {
    state: CallState,
    row: Option<CallRow>,
    legs: Vec<CallLegRow>,
}

/// What is to be written.
#[derive(Default)]
struct Written {
    states: Table,
    legs: Vec<CallLegRow>,
    legs_gone: Vec<CallLegRow>,
}

pub(crate) type ByCall<'a> = BTreeMap<(&'a WorkspaceId, &'a CallId), Vec<&'a Fact>>;

pub(crate) async fn apply(
    tx: &mut PgConnection,
    settings: &AllSettings,
    by_call: &ByCall<'_>,
    changes: &mut Changes,
) -> Result<Vec<Touched>, PostgresError> {
    if by_call.is_empty() {
        return Ok(Vec::new());
    }
    let held = load(tx, by_call).await?;
    let mut written = Written::default();
    let mut touched: Vec<Touched> = Vec::with_capacity(by_call.len());
    for (((workspace, call), facts), Held { mut state, row: before, legs: legs_before }) in by_call.iter().zip(held) {
        let handling_of = |state: &CallState, row: &CallRow| match row.is_missed() {
            true => state.handling(),
            false => Handling::default(),
        };
        let handling_before = before.as_ref().map_or_else(Handling::default, |row| handling_of(&state, row));
        let mut learnt = false;
        for fact in facts {
            learnt |= state.apply(fact);
        }
        if !learnt {
            continue;
        }
        let Some(CallRows { row: after, legs }) = written.state(&state, workspace, call, settings)? else { continue };
        written.legs(workspace, legs_before, legs, changes);
        if before.as_ref() != Some(&after) {
            before.iter().for_each(|row| changes.subtract(workspace, row));
            changes.add(workspace, &after);
        }
        let handling = handling_of(&state, &after);
        touched.push(Touched { before, after, handling_before, handling });
    }
    written.states.upsert(tx, STATES, &["workspace_id", "call_id"]).await?;
    let changed = touched.iter().filter(|touched| touched.before.as_ref() != Some(&touched.after));
    rows::upsert_of_callers(tx, settings, changed.map(|touched| &touched.after)).await?;
    rows::delete(tx, &written.legs_gone).await?;
    rows::upsert(tx, &written.legs).await?;
    Ok(touched)
}

impl Written {
    /// Takes a state to be written; gives its rows, `None` while nothing is known of the call but decisions.
    fn state(
        &mut self,
        state: &CallState,
        workspace: &WorkspaceId,
        call: &CallId,
        settings: &AllSettings,
    ) -> Result<Option<CallRows>, PostgresError> {
        self.states.text("workspace_id", Some(workspace.as_str()));
        self.states.text("call_id", Some(call.as_str()));
        self.states.bytes("state", &serde_json::to_vec(state).map_err(|error| bad(STATES, error))?);
        self.states.truth("handled", state.handling() != Handling::default());
        self.states.end_row();
        Ok(state.rows(workspace, call, settings.get(workspace)))
    }

    fn legs(
        &mut self,
        workspace: &WorkspaceId,
        before: Vec<CallLegRow>,
        after: Vec<CallLegRow>,
        changes: &mut Changes,
    ) {
        let mut before = before.into_iter();
        // Positions count from 1 on both sides.
        for leg in after {
            let held = before.next();
            if held.as_ref() == Some(&leg) {
                continue;
            }
            held.iter().for_each(|held| changes.subtract(workspace, held));
            changes.add(workspace, &leg);
            self.legs.push(leg);
        }
        for leg in before {
            changes.subtract(workspace, &leg);
            self.legs_gone.push(leg);
        }
    }
}

/// What is stored of each call, in the order of `by_call`.
async fn load(tx: &mut PgConnection, by_call: &ByCall<'_>) -> Result<Vec<Held>, PostgresError> {
    let (workspaces, calls): (Vec<&str>, Vec<&str>) =
        by_call.keys().map(|(workspace, call)| (workspace.as_str(), call.as_str())).unzip();
    let mut held: Vec<Held> = Vec::new();
    held.resize_with(by_call.len(), Held::default);
    let found = sqlx::query(
        "select asked.place, known.state, held.*
         from unnest($1::text[], $2::text[]) with ordinality as asked (workspace_id, call_id, place)
         join call_states as known on known.workspace_id = asked.workspace_id and known.call_id = asked.call_id
         left join calls as held on held.workspace_id = asked.workspace_id and held.call_id = asked.call_id",
    )
    .bind(&workspaces)
    .bind(&calls)
    .fetch_all(&mut *tx)
    .await?;
    for row in &found {
        let Some(held) = held.get_mut(rows::place(row)?) else { continue };
        let state: &[u8] = row.try_get("state")?;
        held.state = serde_json::from_slice(state).map_err(|error| bad(STATES, error))?;
        let known: Option<&str> = row.try_get("workspace_id")?;
        held.row = known.map(|_| rows::call_row(row)).transpose()?;
    }
    if found.is_empty() {
        return Ok(held);
    }
    let legs = sqlx::query(
        "select asked.place, held.*
         from unnest($1::text[], $2::text[]) with ordinality as asked (workspace_id, call_id, place)
         join call_legs as held on held.workspace_id = asked.workspace_id and held.call_id = asked.call_id
         order by asked.place, held.position",
    )
    .bind(&workspaces)
    .bind(&calls)
    .fetch_all(tx)
    .await?;
    for row in &legs {
        if let Some(held) = held.get_mut(rows::place(row)?) {
            held.legs.push(rows::leg_row(row)?);
        }
    }
    Ok(held)
}
