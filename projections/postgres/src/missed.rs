//! Missed calls: for every caller to whom something changed that matters, read their calls again and write the obligations
//! that changed.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::{
    call::{CallRow, CallState, Handling},
    missed::{CallerCall, MissedCallRow, obligations},
};
use helix_schemas::names::{CallId, WorkspaceId};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    AllSettings, PostgresError,
    batch::Changes,
    calls::Touched,
    rows::{self, Difference, bad},
};

/// A caller's key within a workspace ([`helix_fold::settings::Settings::caller_key`]).
type Caller = (WorkspaceId, String);

/// What a batch makes stale.
#[derive(Default)]
struct Stale {
    /// Callers, and whether one of their calls is missed now: then there is an obligation, stored or not.
    callers: BTreeMap<Caller, bool>,
    /// Calls whose own obligation may come or go.
    calls: BTreeSet<(WorkspaceId, CallId)>,
    /// Obligations of calls that are linked to nothing.
    alone: Vec<MissedCallRow>,
}

pub(crate) async fn apply(
    tx: &mut PgConnection,
    settings: &AllSettings,
    touched: &[Touched],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    let Stale { callers, mut calls, alone } = stale(settings, touched);
    if callers.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let mut after = alone;
    for ((workspace, _), of_caller) in calls_of(tx, &callers).await? {
        after.extend(obligations(&workspace, &of_caller, &settings.get(&workspace).rules));
    }
    // An obligation goes only where its own call is touched; so these are all that may change.
    calls.extend(after.iter().map(|row| (row.workspace.clone(), row.call.clone())));
    let before = held(tx, &calls).await?;
    write_difference(tx, settings, before, after, changes).await
}

fn stale(settings: &AllSettings, touched: &[Touched]) -> Stale {
    let mut stale = Stale::default();
    for Touched { before, after, handling_before, handling } in touched {
        let matters = |row: &CallRow| row.is_missed() || row.answered_at.is_some() || !row.counts_as_inbound();
        let as_it_was = before.as_ref().is_some_and(|before| {
            CallerCall::with(before, handling_before.clone()) == CallerCall::with(after, handling.clone())
        });
        if as_it_was {
            continue;
        }
        if !matters(after) && !before.as_ref().is_some_and(matters) {
            continue;
        }
        if after.is_missed() || before.as_ref().is_some_and(CallRow::is_missed) {
            stale.calls.insert((after.workspace.clone(), after.call.clone()));
        }
        for row in before.iter().chain([after]) {
            if let Some(key) = rows::caller_key(&row.workspace, row.caller.as_deref(), settings) {
                *stale.callers.entry((row.workspace.clone(), key)).or_default() |= row.is_missed();
            }
        }
        if rows::caller_key(&after.workspace, after.caller.as_deref(), settings).is_none() {
            let rules = &settings.get(&after.workspace).rules;
            let call = CallerCall::with(after, handling.clone());
            stale.alone.extend(obligations(&after.workspace, &[call], rules));
        }
    }
    stale
}

fn names(callers: &BTreeMap<Caller, bool>) -> (Vec<&str>, Vec<&str>) {
    callers.keys().map(|(workspace, caller)| (workspace.as_str(), caller.as_str())).unzip()
}

/// All calls of those callers who have an obligation.
async fn calls_of(
    tx: &mut PgConnection,
    callers: &BTreeMap<Caller, bool>,
) -> Result<BTreeMap<Caller, Vec<CallerCall>>, PostgresError> {
    let keys: Vec<&Caller> = callers.keys().collect();
    let (workspaces, numbers) = names(callers);
    let missed: Vec<bool> = callers.values().copied().collect();
    let found = sqlx::query(
        "select asked.place, held.call_id, held.direction, held.outcome, held.did, held.started_at, held.answered_at,
                held.ended_at, held.disposition, handled.state, held.caller
         from unnest($1::text[], $2::text[], $3::boolean[]) with ordinality
              as asked (workspace_id, caller_key, missed, place)
         join calls as held on held.workspace_id = asked.workspace_id and held.caller_key = asked.caller_key
         left join call_states as handled
           on handled.workspace_id = held.workspace_id and handled.call_id = held.call_id and handled.handled
         where asked.missed or exists (
             select from missed_calls as open
             where open.workspace_id = asked.workspace_id and open.caller_key = asked.caller_key)",
    )
    .bind(&workspaces)
    .bind(&numbers)
    .bind(&missed)
    .fetch_all(tx)
    .await?;
    let mut by_caller: BTreeMap<Caller, Vec<CallerCall>> = BTreeMap::new();
    for row in &found {
        if let Some(caller) = keys.get(rows::place(row)?) {
            by_caller.entry((*caller).clone()).or_default().push(caller_call(row)?);
        }
    }
    Ok(by_caller)
}

fn caller_call(row: &PgRow) -> Result<CallerCall, PostgresError> {
    let handling = match row.try_get::<Option<&[u8]>, _>(9)? {
        Some(state) => {
            let state: CallState = serde_json::from_slice(state).map_err(|error| bad("call_states", error))?;
            state.handling()
        }
        None => Handling::default(),
    };
    let mut call = CallerCall {
        call: CallId::new(row.try_get(1)?).map_err(|error| bad("calls", error))?,
        direction: rows::direction(row.try_get(2)?)?,
        outcome: rows::outcome(row.try_get(3)?)?,
        caller: row.try_get(10)?,
        did: row.try_get(4)?,
        started_at: rows::moment(row.try_get(5)?),
        answered_at: row.try_get::<Option<_>, _>(6)?.map(rows::moment),
        ended_at: row.try_get::<Option<_>, _>(7)?.map(rows::moment),
        disposition: row.try_get(8)?,
        handling: Handling::default(),
    };
    if call.missed_at().is_some() {
        call.handling = handling;
    }
    Ok(call)
}

/// The stored obligations of those calls.
async fn held(
    tx: &mut PgConnection,
    calls: &BTreeSet<(WorkspaceId, CallId)>,
) -> Result<BTreeMap<(WorkspaceId, CallId), MissedCallRow>, PostgresError> {
    let (workspaces, ids): (Vec<&str>, Vec<&str>) =
        calls.iter().map(|(workspace, call)| (workspace.as_str(), call.as_str())).unzip();
    let found = sqlx::query(
        "select held.* from unnest($1::text[], $2::text[]) as asked (workspace_id, call_id)
         join missed_calls as held on held.workspace_id = asked.workspace_id and held.call_id = asked.call_id",
    )
    .bind(&workspaces)
    .bind(&ids)
    .fetch_all(tx)
    .await?;
    let mut held = BTreeMap::new();
    for row in &found {
        let row = rows::missed_call_row(row)?;
        held.insert((row.workspace.clone(), row.call.clone()), row);
    }
    Ok(held)
}

async fn write_difference(
    tx: &mut PgConnection,
    settings: &AllSettings,
    mut before: BTreeMap<(WorkspaceId, CallId), MissedCallRow>,
    after: Vec<MissedCallRow>,
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    let mut written = Difference::default();
    for row in after {
        let held = before.remove(&(row.workspace.clone(), row.call.clone()));
        written.row(settings, changes, held.as_ref(), Some(&row));
    }
    for row in before.values() {
        written.row(settings, changes, Some(row), None);
    }
    written.write(tx).await
}
