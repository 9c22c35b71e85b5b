//! Calls and their legs: load the joins of the batch's calls, join, write what changed.

use std::collections::BTreeMap;

use helix_fold::{
    call::{CallLegRow, CallRow, CallRows, CallState, Handling},
    row::Columns as _,
};
use helix_schemas::names::{CallId, WorkspaceId};
use sqlx::{PgConnection, Row as _};

use crate::{
    AllSettings, PostgresError,
    batch::{Arrived, Changes},
    columns::Table,
    rows::{self, Difference, bad},
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
    /// Absent where nothing is.
    state: Option<CallState>,
    row: Option<CallRow>,
    legs: Vec<CallLegRow>,
}

/// The calls of a batch, each with the places of its facts.
type ByCall = BTreeMap<(WorkspaceId, CallId), Vec<usize>>;

/// The calls of a batch with what is stored of them.
pub(crate) struct Loaded {
    by_call: ByCall,
    /// In the order of `by_call`.
    held: Vec<Held>,
}

/// What is to be written of calls, and what changed.
#[derive(Default)]
pub(crate) struct Folded {
    new_states: Table,
    changed_states: Table,
    rows: Difference<CallRow>,
    legs: Difference<CallLegRow>,
    touched: Vec<Touched>,
}

pub(crate) async fn load(tx: &mut PgConnection, facts: &[Arrived]) -> Result<Loaded, PostgresError> {
    let mut by_call = ByCall::new();
    for (place, Arrived { fact, .. }) in facts.iter().enumerate() {
        if let (true, Some(call)) = (CallState::concerns(fact), &fact.call) {
            by_call.entry((fact.workspace.clone(), call.clone())).or_default().push(place);
        }
    }
    let held = load_held(tx, &by_call).await?;
    Ok(Loaded { by_call, held })
}

/// Joins the batch's facts. No database: it may go on beside one.
pub(crate) fn fold(
    facts: &[Arrived],
    loaded: Loaded,
    settings: &AllSettings,
    changes: &mut Changes,
) -> Result<Folded, PostgresError> {
    let mut folded = Folded::default();
    for (((workspace, call), places), held) in loaded.by_call.into_iter().zip(loaded.held) {
        let handling_of = |state: &CallState, row: &CallRow| match row.is_missed() {
            true => state.handling(),
            false => Handling::default(),
        };
        let Held { state, row: before, legs: legs_before } = held;
        let known = state.is_some();
        let mut state = state.unwrap_or_default();
        let handling_before = before.as_ref().map_or_else(Handling::default, |row| handling_of(&state, row));
        let mut learnt = false;
        for Arrived { fact, .. } in places.into_iter().filter_map(|place| facts.get(place)) {
            learnt |= state.apply(fact);
        }
        if !learnt {
            continue;
        }
        folded.state(&state, known, &workspace, &call)?;
        let Some(CallRows { row: after, legs }) = state.rows(&workspace, &call, settings.get(&workspace)) else {
            continue;
        };
        folded.legs(settings, changes, &legs_before, &legs);
        folded.rows.row(settings, changes, before.as_ref(), Some(&after));
        let handling = handling_of(&state, &after);
        folded.touched.push(Touched { before, after, handling_before, handling });
    }
    Ok(folded)
}

impl Folded {
    fn state(
        &mut self,
        state: &CallState,
        known: bool,
        workspace: &WorkspaceId,
        call: &CallId,
    ) -> Result<(), PostgresError> {
        let table = if known { &mut self.changed_states } else { &mut self.new_states };
        table.text("workspace_id", Some(workspace.as_str()));
        table.text("call_id", Some(call.as_str()));
        table.bytes("state", &serde_json::to_vec(state).map_err(|error| bad(STATES, error))?);
        table.truth("handled", state.handling() != Handling::default());
        table.end_row();
        Ok(())
    }

    /// Pairs by position: a row that somebody took away is written again, and the root, which still counts it, tells.
    fn legs(&mut self, settings: &AllSettings, changes: &mut Changes, before: &[CallLegRow], after: &[CallLegRow]) {
        let mut stored: BTreeMap<i64, &CallLegRow> = before.iter().map(|leg| (leg.position, leg)).collect();
        for leg in after {
            self.legs.row(settings, changes, stored.remove(&leg.position), Some(leg));
        }
        for leg in stored.into_values() {
            self.legs.row(settings, changes, Some(leg), None);
        }
    }

    /// Gives the calls of which something was learnt.
    pub(crate) async fn write(self, tx: &mut PgConnection) -> Result<Vec<Touched>, PostgresError> {
        self.changed_states.update(tx, STATES, &["workspace_id", "call_id"]).await?;
        self.new_states.insert(tx, STATES).await?;
        self.rows.write(tx).await?;
        self.legs.write(tx).await?;
        Ok(self.touched)
    }
}

/// What is stored of each call, in the order of `by_call`.
async fn load_held(tx: &mut PgConnection, by_call: &ByCall) -> Result<Vec<Held>, PostgresError> {
    let (workspaces, calls): (Vec<&str>, Vec<&str>) =
        by_call.keys().map(|(workspace, call)| (workspace.as_str(), call.as_str())).unzip();
    let mut held: Vec<Held> = Vec::new();
    held.resize_with(by_call.len(), Held::default);
    if by_call.is_empty() {
        return Ok(held);
    }
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
        held.state = Some(serde_json::from_slice(state).map_err(|error| bad(STATES, error))?);
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
