//! Agents: add the batch's entries to the timelines, compute the changed tails anew, write the difference.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use helix_fold::agent::{
    AgentRow, Entry, Interval, IntervalRow, Registers, Says, StaleTail, TOUCH_GRACE_MILLIS, intervals,
};
use helix_schemas::{
    fact::AgentState,
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
    time::OccurredAt,
};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row as _, types::Uuid};

use crate::{
    PostgresError,
    batch::{Arrived, Changes},
    rows::{self, bad, moment, to_sql},
};

const TIMELINE: &str = "helix.agent_timeline";
const REGISTERS: &str = "helix.agent_registers";

type Key = (WorkspaceId, AgentId);

/// One agent of the batch.
struct Tail {
    /// What must be computed anew.
    stale: StaleTail,
    /// The entries it is computed from.
    entries: Vec<Entry>,
}

pub(crate) async fn apply(
    tx: &mut PgConnection,
    facts: &[Arrived],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    let Added { changed, entries } = add_entries(tx, facts).await?;
    if changed.is_empty() {
        return Ok(());
    }
    let tails = load_tails(tx, &changed).await?;
    let registers = join_registers(tx, facts, &changed, &entries).await?;
    let mut held = load_agent_rows(tx, &changed).await?;

    let mut gone: Vec<IntervalRow> = Vec::new();
    let mut written: Vec<IntervalRow> = Vec::new();
    let mut presents: Vec<AgentRow> = Vec::new();
    for (key, tail) in tails {
        let (workspace, agent) = &key;
        let row = |interval| IntervalRow { workspace: workspace.clone(), agent: agent.clone(), interval };
        let computed = intervals(tail.stale.before.as_ref(), &tail.entries);
        let change = changes.of(workspace);
        let last = computed.last().cloned().or(tail.stale.before);
        let mut stored: BTreeMap<OccurredAt, Interval> =
            tail.stale.stored.into_iter().map(|interval| (interval.started_at, interval)).collect();
        for interval in computed {
            let before = stored.remove(&interval.started_at);
            if before.as_ref() == Some(&interval) {
                continue;
            }
            before.into_iter().for_each(|before| change.subtract(&row(before)));
            let interval = row(interval);
            change.add(&interval);
            written.push(interval);
        }
        for interval in stored.into_values().map(row) {
            change.subtract(&interval);
            gone.push(interval);
        }
        let empty = Registers::default();
        let present =
            last.and_then(|last| AgentRow::of(workspace, agent, &last, registers.get(&key).unwrap_or(&empty)));
        let before = held.remove(&key);
        if let Some(present) = present
            && before.as_ref() != Some(&present)
        {
            before.iter().for_each(|before| change.subtract(before));
            change.add(&present);
            presents.push(present);
        }
    }
    rows::delete(tx, &gone).await?;
    rows::upsert(tx, &written).await?;
    rows::upsert(tx, &presents).await
}

/// What a batch added to the timelines.
#[derive(Default)]
struct Added {
    /// For each agent the earliest moment at which something was added.
    changed: BTreeMap<Key, OccurredAt>,
    /// Which facts were new, each at the arrival that counts.
    entries: BTreeSet<(WorkspaceId, FactId, i64)>,
}

/// Adds entries that are new; a repeat adds nothing.
async fn add_entries(tx: &mut PgConnection, facts: &[Arrived]) -> Result<Added, PostgresError> {
    let mut entries: Vec<Value> = Vec::new();
    for Arrived { fact, offset, .. } in facts {
        let Some((agent, entry)) = Entry::of(fact, offset.0) else {
            continue;
        };
        let (state, reason, call) = match &entry.says {
            Says::State { state, reason } => (Some(state.as_str()), reason.as_deref(), None),
            Says::Touch { call } => (None, None, Some(call.as_str())),
        };
        entries.push(json!({
            "workspace_id": fact.workspace, "agent_id": agent, "occurred_at": entry.at.to_rfc3339(),
            "arrival": entry.arrival, "fact_id": entry.fact.to_string(), "state": state, "reason": reason, "call_id": call,
        }));
    }
    if entries.is_empty() {
        return Ok(Added::default());
    }
    // A repeat within the batch meets the row of the first: the earlier arrival stays, as between batches.
    let found = sqlx::query(
        "insert into helix.agent_timeline
         select * from jsonb_populate_recordset(null::helix.agent_timeline, $1)
         on conflict (workspace_id, fact_id) do nothing
         returning workspace_id, agent_id, occurred_at, fact_id, arrival",
    )
    .bind(Value::Array(entries))
    .fetch_all(tx)
    .await?;
    let mut added = Added::default();
    for row in &found {
        let at = moment(row.try_get("occurred_at")?);
        let fact = FactId::from_uuid(row.try_get::<Uuid, _>("fact_id")?);
        added.entries.insert((rows::workspace(TIMELINE, row)?, fact, row.try_get("arrival")?));
        let key = (rows::workspace(TIMELINE, row)?, rows::agent(TIMELINE, row)?);
        let earliest = added.changed.entry(key).or_insert(at);
        *earliest = at.min(*earliest);
    }
    Ok(added)
}

type Columns<'a> = (Vec<&'a str>, Vec<&'a str>, Vec<DateTime<Utc>>);

fn columns(changed: &BTreeMap<Key, OccurredAt>) -> Columns<'_> {
    let mut columns: Columns<'_> = (Vec::new(), Vec::new(), Vec::new());
    for ((workspace, agent), at) in changed {
        columns.0.push(workspace.as_str());
        columns.1.push(agent.as_str());
        columns.2.push(to_sql(*at));
    }
    columns
}

async fn load_tails(
    tx: &mut PgConnection,
    changed: &BTreeMap<Key, OccurredAt>,
) -> Result<BTreeMap<Key, Tail>, PostgresError> {
    let (workspaces, agents, moments) = columns(changed);
    // The last two intervals that began before the change: the first of them is the context, the second is computed anew.
    let found = sqlx::query(
        "with asked as (
             select * from unnest($1::text[], $2::text[], $3::timestamptz[]) as asked (workspace_id, agent_id, changed_at)
         ), bounds as (
             select asked.*, (
                 select min(earlier.started_at) from (
                     select started_at from read.agent_intervals as held
                     where held.workspace_id = asked.workspace_id and held.agent_id = asked.agent_id
                       and held.started_at < asked.changed_at
                     order by started_at desc limit 2
                 ) as earlier
             ) as from_at
             from asked
         )
         select held.* from bounds join read.agent_intervals as held
           on held.workspace_id = bounds.workspace_id and held.agent_id = bounds.agent_id
          and held.started_at >= coalesce(bounds.from_at, '-infinity')
         order by held.workspace_id, held.agent_id, held.started_at",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .fetch_all(&mut *tx)
    .await?;
    let mut stored: BTreeMap<Key, Vec<Interval>> = BTreeMap::new();
    for row in &found {
        let row = rows::interval_row(row)?;
        stored.entry((row.workspace, row.agent)).or_default().push(row.interval);
    }
    let mut from: BTreeMap<Key, OccurredAt> = BTreeMap::new();
    let mut tails: BTreeMap<Key, Tail> = BTreeMap::new();
    for (key, changed_at) in changed {
        let stale = StaleTail::of(stored.remove(key).unwrap_or_default(), *changed_at);
        from.insert(key.clone(), stale.from.unwrap_or(OccurredAt::from_millis(i64::MIN)));
        tails.insert(key.clone(), Tail { stale, entries: Vec::new() });
    }
    load_entries(tx, &from, &mut tails).await?;
    Ok(tails)
}

async fn load_entries(
    tx: &mut PgConnection,
    from: &BTreeMap<Key, OccurredAt>,
    tails: &mut BTreeMap<Key, Tail>,
) -> Result<(), PostgresError> {
    let (workspaces, agents, moments) = columns(from);
    let found = sqlx::query(
        "select held.* from unnest($1::text[], $2::text[], $3::timestamptz[]) as asked (workspace_id, agent_id, from_at)
         join helix.agent_timeline as held
           on held.workspace_id = asked.workspace_id and held.agent_id = asked.agent_id
          and held.occurred_at >= asked.from_at - $4::bigint * interval '1 millisecond'
         where held.state is null or held.occurred_at >= asked.from_at",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .bind(TOUCH_GRACE_MILLIS)
    .fetch_all(tx)
    .await?;
    for row in &found {
        let key = (rows::workspace(TIMELINE, row)?, rows::agent(TIMELINE, row)?);
        let says = match row.try_get::<Option<&str>, _>("state")? {
            Some(word) => Says::State {
                state: AgentState::from_word(word).ok_or_else(|| bad(TIMELINE, "a state that is none"))?,
                reason: row.try_get("reason")?,
            },
            None => Says::Touch { call: CallId::new(row.try_get("call_id")?).map_err(|error| bad(TIMELINE, error))? },
        };
        let entry = Entry {
            at: moment(row.try_get("occurred_at")?),
            arrival: row.try_get("arrival")?,
            fact: FactId::from_uuid(row.try_get::<Uuid, _>("fact_id")?),
            says,
        };
        if let Some(tail) = tails.get_mut(&key) {
            tail.entries.push(entry);
        }
    }
    Ok(())
}

/// Joins what the batch's new facts say of names and modes. A repeat comes later than its first arrival, so it must not
/// be asked again.
async fn join_registers(
    tx: &mut PgConnection,
    facts: &[Arrived],
    changed: &BTreeMap<Key, OccurredAt>,
    entries: &BTreeSet<(WorkspaceId, FactId, i64)>,
) -> Result<BTreeMap<Key, Registers>, PostgresError> {
    let (workspaces, agents, _) = columns(changed);
    let found = sqlx::query(
        "select held.* from helix.agent_registers as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, agent_id) using (workspace_id, agent_id)",
    )
    .bind(&workspaces)
    .bind(&agents)
    .fetch_all(&mut *tx)
    .await?;
    let mut registers: BTreeMap<Key, Registers> = BTreeMap::new();
    for row in &found {
        let held: Value = row.try_get("registers")?;
        let held = serde_json::from_value(held).map_err(|error| bad(REGISTERS, error))?;
        registers.insert((rows::workspace(REGISTERS, row)?, rows::agent(REGISTERS, row)?), held);
    }
    let mut written: BTreeMap<Key, Registers> = BTreeMap::new();
    for Arrived { fact, offset, .. } in facts {
        let Some(agent) = &fact.agent else { continue };
        if !entries.contains(&(fact.workspace.clone(), fact.id, offset.0)) {
            continue;
        }
        let key = (fact.workspace.clone(), agent.clone());
        let held = registers.entry(key.clone()).or_default();
        let before = held.clone();
        held.join(fact, offset.0);
        if *held != before {
            written.insert(key, held.clone());
        }
    }
    if !written.is_empty() {
        let rows: Vec<Value> = written
            .iter()
            .map(|((workspace, agent), held)| json!({"workspace_id": workspace, "agent_id": agent, "registers": held}))
            .collect();
        sqlx::query(
            "insert into helix.agent_registers select * from jsonb_populate_recordset(null::helix.agent_registers, $1)
             on conflict (workspace_id, agent_id) do update set registers = excluded.registers",
        )
        .bind(Value::Array(rows))
        .execute(tx)
        .await?;
    }
    Ok(registers)
}

async fn load_agent_rows(
    tx: &mut PgConnection,
    changed: &BTreeMap<Key, OccurredAt>,
) -> Result<BTreeMap<Key, AgentRow>, PostgresError> {
    let (workspaces, agents, _) = columns(changed);
    let found = sqlx::query(
        "select held.* from read.agents as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, agent_id) using (workspace_id, agent_id)",
    )
    .bind(&workspaces)
    .bind(&agents)
    .fetch_all(tx)
    .await?;
    found
        .iter()
        .map(|row| {
            let row = rows::agent_row(row)?;
            Ok(((row.workspace.clone(), row.agent.clone()), row))
        })
        .collect()
}
