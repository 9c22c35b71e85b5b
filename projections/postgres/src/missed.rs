//! Missed calls: for every caller to whom something changed that matters, read again what that may concern and write the
//! obligations that changed.
//!
//! Numbers that are withheld or a switchboard's have very many calls. So of a caller's obligations those alone are computed
//! that a change may reach ([`Span`]), and of the calls those alone are read that say something of these ([`Wanted`]). Both are
//! found by the caller and a moment, in indexes that hold the two: what was long ago is not looked at.

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
    /// Those of them that are missed now, with their moments: they are not among the stored obligations yet.
    missed: BTreeMap<CallId, (OccurredAt, CallerCall)>,
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
    let mut stored = calls_of(tx, settings, &wanted).await?;
    for (key, span) in callers {
        let mut of_caller = stored.remove(&key).unwrap_or_default();
        of_caller.extend(span.missed.into_iter().map(|(call, (_, missed))| (call, missed)));
        let of_caller: Vec<CallerCall> = of_caller.into_values().collect();
        let mut rows = obligations(&key.0, &of_caller, &settings.get(&key.0).rules);
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
                span.missed.insert(call.clone(), (missed_at, now));
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
         -- What was missed from then on; and of what was missed before, what was not closed by then.
         cross join lateral (
             select * from missed_calls as later
             where later.workspace_id = asked.workspace_id and later.caller_key = asked.caller_key
               and later.missed_at >= asked.from_at and later.missed_at <= coalesce(asked.until, 'infinity')
             union all
             -- Fenced, so that it is found by when it was closed, and not among all that was missed before.
             select * from (
                 select * from missed_calls as told
                 where asked.settles
                   and told.workspace_id = asked.workspace_id and told.caller_key = asked.caller_key
                   and coalesce(told.closed_at, 'infinity') >= asked.from_at
                 offset 0
             ) as earlier
             where earlier.missed_at < asked.from_at and earlier.missed_at <= coalesce(asked.until, 'infinity')
         ) as held",
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
        for (call, (missed_at, _)) in &span.missed {
            wanted.entry(caller.clone()).or_default().take(call, *missed_at);
        }
    }
    Ok(wanted)
}

fn names<'a>(callers: impl Iterator<Item = &'a Caller>) -> (Vec<&'a str>, Vec<&'a str>) {
    callers.map(|(workspace, caller)| (workspace.as_str(), caller.as_str())).unzip()
}

/// What is stored that says something of the wanted obligations: calls that may have closed them, or are attempts; the
/// caller's other missed calls shortly before, by their obligations; and what was found to be spam, whenever.
async fn calls_of(
    tx: &mut PgConnection,
    settings: &AllSettings,
    wanted: &BTreeMap<Caller, Wanted>,
) -> Result<BTreeMap<Caller, BTreeMap<CallId, CallerCall>>, PostgresError> {
    let mut by_caller: BTreeMap<Caller, BTreeMap<CallId, CallerCall>> = BTreeMap::new();
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
        let looks_for_spam = !spam_dispositions.is_empty();
        spam.push(looks_for_spam.then(|| serde_json::json!(spam_dispositions).to_string()));
    }
    let found = sqlx::query(
        "select asked.place, held.call_id, held.direction, held.outcome, held.did, held.started_at, held.answered_at,
                held.ended_at, held.disposition, handled.state, held.caller
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[])
              with ordinality as asked (workspace_id, caller_key, window_from, first, last, spam, place)
         cross join lateral (
             select missed.* from (
                 select call_id from missed_calls as near
                 where near.workspace_id = asked.workspace_id and near.caller_key = asked.caller_key
                   and near.missed_at >= asked.window_from and near.missed_at <= asked.last
                 offset 0
             ) as near
             -- Fenced, so that it is found by its key, and not among all of the caller's.
             cross join lateral (
                 select * from calls as of_call
                 where of_call.workspace_id = asked.workspace_id and of_call.call_id = near.call_id
                 offset 0
             ) as missed
             where missed.caller_key = asked.caller_key and missed.outcome in ('missed', 'short_abandon')
               and missed.ended_at >= asked.window_from and missed.ended_at <= asked.last
             union all
             select * from calls as later
             where later.workspace_id = asked.workspace_id and later.caller_key = asked.caller_key
               and later.started_at >= asked.first and (later.answered_at is not null or later.direction = 'outbound')
             union all
             select * from calls as earlier
             where asked.spam is not null
               and earlier.workspace_id = asked.workspace_id and earlier.caller_key = asked.caller_key
               and earlier.started_at < asked.first
               and earlier.answered_at is not null and asked.spam::jsonb ? earlier.disposition
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
            let call = caller_call(row)?;
            by_caller.entry((*caller).clone()).or_default().insert(call.call.clone(), call);
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
