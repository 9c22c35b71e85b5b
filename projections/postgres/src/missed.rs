//! Missed calls: for every caller to whom something changed that matters, read again what that may concern and write the
//! obligations that changed.
//!
//! Numbers that are withheld or a switchboard's have very many calls. So of a caller's obligations those alone are computed
//! that a change may reach ([`Span`]), and of the calls those alone are read that say something of these ([`Wanted`]).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use helix_fold::{
    call::{CallRow, CallState, Handling},
    missed::{CallerCall, MissedCallRow, obligations},
    settings::Rules,
};
use helix_schemas::{
    names::{CallId, WorkspaceId},
    time::OccurredAt,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    AllSettings, PostgresError,
    batch::Changes,
    calls::Touched,
    rows::{self, Difference, bad, to_sql},
};

/// A caller's key within a workspace ([`helix_fold::settings::Settings::caller_key`]).
type Caller = (WorkspaceId, String);

/// What a batch makes stale.
#[derive(Default)]
struct Stale {
    callers: BTreeMap<Caller, Span>,
    /// Calls whose own obligation may come or go.
    calls: BTreeSet<(WorkspaceId, CallId)>,
    /// Obligations of calls that are linked to nothing.
    alone: Vec<MissedCallRow>,
}

/// How far the changes to one caller's calls reach. What was missed before, and closed before, stays as it is; and so does
/// what was missed before and is open still, unless one of the calls is answered or an attempt.
#[derive(Default)]
struct Span {
    /// The earliest moment of the calls that changed, as they were and as they are. Absent where only handling did.
    from: Option<OccurredAt>,
    /// The latest moment at which they count for a later miss; absent: for good.
    until: Option<OccurredAt>,
    for_good: bool,
    /// Whether one of them may close an obligation, or count as an attempt.
    settles: bool,
    /// Those of them that are missed now.
    missed: BTreeMap<CallId, OccurredAt>,
}

impl Span {
    fn takes(&mut self, row: &CallRow, rules: &Rules) {
        let moments = [Some(row.started_at), row.answered_at, row.ended_at];
        self.from = self.from.into_iter().chain(moments.into_iter().flatten()).min();
        let window = rules.priority.repeat_window_seconds.saturating_mul(1000);
        let counts = |at: OccurredAt| OccurredAt::from_millis(at.millis().saturating_add(window.max(0)));
        self.until = self.until.into_iter().chain(moments.into_iter().flatten().map(counts)).max();
        self.for_good |= row.disposition.as_ref().is_some_and(|said| rules.spam_dispositions.contains(said));
        self.settles |= row.answered_at.is_some() || !row.counts_as_inbound();
    }
}

/// The obligations of one caller that are to be computed anew.
#[derive(Default)]
struct Wanted {
    calls: BTreeSet<CallId>,
    /// When the first and the last of them was missed.
    between: Option<(OccurredAt, OccurredAt)>,
}

impl Wanted {
    fn take(&mut self, call: &CallId, missed_at: OccurredAt) {
        self.calls.insert(call.clone());
        let (first, last) = self.between.unwrap_or((missed_at, missed_at));
        self.between = Some((first.min(missed_at), last.max(missed_at)));
    }
}

type Obligations = BTreeMap<(WorkspaceId, CallId), MissedCallRow>;

pub(crate) async fn apply(
    tx: &mut PgConnection,
    settings: &AllSettings,
    touched: &[Touched],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    let Stale { callers, calls, alone } = stale(settings, touched);
    if callers.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let mut before = held(tx, &calls).await?;
    let wanted = wanted(tx, &callers, &mut before).await?;
    let mut after = alone;
    for ((workspace, caller), of_caller) in calls_of(tx, settings, &wanted).await? {
        let mut rows = obligations(&workspace, &of_caller, &settings.get(&workspace).rules);
        let key = (workspace, caller);
        rows.retain(|row| wanted.get(&key).is_some_and(|wanted| wanted.calls.contains(&row.call)));
        after.extend(rows);
    }
    // An obligation goes only where its own call is touched.
    let computed: BTreeSet<(WorkspaceId, CallId)> =
        after.iter().map(|row| (row.workspace.clone(), row.call.clone())).collect();
    before.retain(|call, _| computed.contains(call) || calls.contains(call));
    write_difference(tx, settings, before, after, changes).await
}

fn stale(settings: &AllSettings, touched: &[Touched]) -> Stale {
    let mut stale = Stale::default();
    for Touched { before, after, handling_before, handling } in touched {
        let matters = |row: &CallRow| row.is_missed() || row.answered_at.is_some() || !row.counts_as_inbound();
        let same = |handling: &Handling| {
            let as_it_is = CallerCall::with(after, handling.clone());
            before.as_ref().is_some_and(|before| CallerCall::with(before, handling_before.clone()) == as_it_is)
        };
        if same(handling) || (!matters(after) && !before.as_ref().is_some_and(matters)) {
            continue;
        }
        let (workspace, call) = (&after.workspace, &after.call);
        if after.is_missed() || before.as_ref().is_some_and(CallRow::is_missed) {
            stale.calls.insert((workspace.clone(), call.clone()));
        }
        let rules = &settings.get(workspace).rules;
        let key = |row: &CallRow| rows::caller_key(workspace, row.caller.as_deref(), settings);
        for caller in before.iter().chain([after]).filter_map(key) {
            let span = stale.callers.entry((workspace.clone(), caller)).or_default();
            // What people did about a call concerns no other.
            if !same(handling_before) {
                before.iter().chain([after]).for_each(|row| span.takes(row, rules));
            }
        }
        let now = CallerCall::with(after, handling.clone());
        match (key(after), now.missed_at()) {
            (Some(caller), Some(missed_at)) => {
                let span = stale.callers.entry((workspace.clone(), caller)).or_default();
                span.missed.insert(call.clone(), missed_at);
            }
            (None, _) => stale.alone.extend(obligations(workspace, &[now], rules)),
            (Some(_), None) => {}
        }
    }
    stale
}

/// The obligations that are to be computed anew, with what is stored of them.
async fn wanted(
    tx: &mut PgConnection,
    callers: &BTreeMap<Caller, Span>,
    before: &mut Obligations,
) -> Result<BTreeMap<Caller, Wanted>, PostgresError> {
    let keys: Vec<&Caller> = callers.keys().collect();
    let (workspaces, numbers) = names(keys.iter().copied());
    let from: Vec<Option<DateTime<Utc>>> = callers.values().map(|span| span.from.map(to_sql)).collect();
    let until: Vec<Option<DateTime<Utc>>> =
        callers.values().map(|span| span.until.filter(|_| !span.for_good).map(to_sql)).collect();
    let settles: Vec<bool> = callers.values().map(|span| span.settles).collect();
    let found = sqlx::query(
        "select asked.place, held.*
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::boolean[]) with ordinality
              as asked (workspace_id, caller_key, from_at, until, settles, place)
         -- Fenced, so that it is found by the caller and nothing else.
         cross join lateral (
             select * from missed_calls as told
             where told.workspace_id = asked.workspace_id and told.caller_key = asked.caller_key
             offset 0
         ) as held
         where held.missed_at <= coalesce(asked.until, 'infinity')
           and (held.missed_at >= asked.from_at
                or asked.settles and coalesce(held.closed_at, 'infinity') >= asked.from_at)",
    )
    .bind(&workspaces)
    .bind(&numbers)
    .bind(&from)
    .bind(&until)
    .bind(&settles)
    .fetch_all(tx)
    .await?;
    let mut wanted: BTreeMap<Caller, Wanted> = BTreeMap::new();
    for row in &found {
        let Some(caller) = keys.get(rows::place(row)?) else { continue };
        let row = rows::missed_call_row(row)?;
        wanted.entry((*caller).clone()).or_default().take(&row.call, row.missed_at);
        before.insert((row.workspace.clone(), row.call.clone()), row);
    }
    for (caller, span) in callers {
        for (call, missed_at) in &span.missed {
            wanted.entry(caller.clone()).or_default().take(call, *missed_at);
        }
    }
    Ok(wanted)
}

fn names<'a>(callers: impl Iterator<Item = &'a Caller>) -> (Vec<&'a str>, Vec<&'a str>) {
    callers.map(|(workspace, caller)| (workspace.as_str(), caller.as_str())).unzip()
}

/// What says something of the wanted obligations: calls that may have closed them, or are attempts; the caller's other missed
/// calls shortly before; and what was found to be spam, whenever.
async fn calls_of(
    tx: &mut PgConnection,
    settings: &AllSettings,
    wanted: &BTreeMap<Caller, Wanted>,
) -> Result<BTreeMap<Caller, Vec<CallerCall>>, PostgresError> {
    let mut by_caller: BTreeMap<Caller, Vec<CallerCall>> = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(by_caller);
    }
    let keys: Vec<&Caller> = wanted.keys().collect();
    let (workspaces, numbers) = names(keys.iter().copied());
    let (mut window, mut first, mut last, mut spam) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((workspace, _), wanted) in wanted {
        let Rules { priority, spam_dispositions, .. } = &settings.get(workspace).rules;
        let reach = priority.repeat_window_seconds.saturating_mul(1000).max(0);
        let earlier = |at: OccurredAt| OccurredAt::from_millis(at.millis().saturating_sub(reach));
        window.push(wanted.between.map(|(first, _)| to_sql(earlier(first))));
        first.push(wanted.between.map(|(first, _)| to_sql(first)));
        last.push(wanted.between.map(|(_, last)| to_sql(last)));
        spam.push(serde_json::json!(spam_dispositions).to_string());
    }
    let found = sqlx::query(
        "select asked.place, held.call_id, held.direction, held.outcome, held.did, held.started_at, held.answered_at,
                held.ended_at, held.disposition, handled.state, held.caller
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[])
              with ordinality as asked (workspace_id, caller_key, window_from, first, last, spam, place)
         -- Fenced, so that they are found by the caller and nothing else, and few of them looked up.
         cross join lateral (
             select * from (
                 select * from calls as told
                 where told.workspace_id = asked.workspace_id and told.caller_key = asked.caller_key
                 offset 0
             ) as told
             where told.outcome in ('missed', 'short_abandon')
                       and told.ended_at >= asked.window_from and told.ended_at <= asked.last
                or told.started_at >= asked.first and (told.answered_at is not null or told.direction = 'outbound')
                or told.answered_at is not null and asked.spam::jsonb ? told.disposition
             offset 0
         ) as held
         left join call_states as handled
           on handled.workspace_id = held.workspace_id and handled.call_id = held.call_id and handled.handled
          and held.outcome in ('missed', 'short_abandon')",
    )
    .bind(&workspaces)
    .bind(&numbers)
    .bind(&window)
    .bind(&first)
    .bind(&last)
    .bind(&spam)
    .fetch_all(tx)
    .await?;
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
async fn held(tx: &mut PgConnection, calls: &BTreeSet<(WorkspaceId, CallId)>) -> Result<Obligations, PostgresError> {
    if calls.is_empty() {
        return Ok(Obligations::new());
    }
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
    let mut held = Obligations::new();
    for row in &found {
        let row = rows::missed_call_row(row)?;
        held.insert((row.workspace.clone(), row.call.clone()), row);
    }
    Ok(held)
}

async fn write_difference(
    tx: &mut PgConnection,
    settings: &AllSettings,
    mut before: Obligations,
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
