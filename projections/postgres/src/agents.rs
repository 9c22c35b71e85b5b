//! Agents: add the batch's entries to the timelines, compute the changed tails anew, write the difference.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use helix_fold::{
    agent::{AgentRow, Entry, Interval, IntervalRow, Registers, Says, StaleTail, TOUCH_GRACE_MILLIS, intervals},
    row::Columns as _,
};
use helix_schemas::{
    fact::AgentState,
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
    time::OccurredAt,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow, types::Uuid};

use crate::{
    PostgresError,
    batch::{Arrived, Changes},
    columns::Table,
    rows::{self, bad, moment, to_sql},
};

const TIMELINE: &str = "agent_timeline";
const REGISTERS: &str = "agent_registers";

type Key = (WorkspaceId, AgentId);

/// One agent of the batch.
struct Tail {
    /// What must be computed anew.
    stale: StaleTail,
    /// The entries it is computed from.
    entries: Vec<Entry>,
}

/// What is held of an agent besides its timeline.
#[derive(Default)]
struct Present {
    registers: Registers,
    row: Option<AgentRow>,
}

pub(crate) async fn apply(
    tx: &mut PgConnection,
    facts: &[Arrived],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    let mut added = add_entries(tx, facts).await?;
    if added.changed.is_empty() {
        return Ok(());
    }
    let tails = load_tails(tx, &mut added).await?;
    let mut presents = load_presents(tx, &added.changed).await?;
    join_registers(tx, facts, &added.new, &mut presents).await?;

    let mut gone: Vec<IntervalRow> = Vec::new();
    let mut written: Vec<IntervalRow> = Vec::new();
    let mut written_presents: Vec<AgentRow> = Vec::new();
    for (key, tail) in tails {
        let (workspace, agent) = &key;
        let row = |interval| IntervalRow { workspace: workspace.clone(), agent: agent.clone(), interval };
        let computed = intervals(tail.stale.before.as_ref(), &tail.entries);
        let last = computed.last().cloned().or(tail.stale.before);
        let mut stored: BTreeMap<OccurredAt, Interval> =
            tail.stale.stored.into_iter().map(|interval| (interval.started_at, interval)).collect();
        for interval in computed {
            let before = stored.remove(&interval.started_at);
            if before.as_ref() == Some(&interval) {
                continue;
            }
            before.into_iter().for_each(|before| changes.subtract(workspace, &row(before)));
            let interval = row(interval);
            changes.add(workspace, &interval);
            written.push(interval);
        }
        for interval in stored.into_values().map(row) {
            changes.subtract(workspace, &interval);
            gone.push(interval);
        }
        let held = presents.remove(&key).unwrap_or_default();
        let present = last.and_then(|last| AgentRow::of(workspace, agent, &last, &held.registers));
        // Entries are never taken back, so an agent that has a state keeps one.
        if let Some(present) = present
            && held.row.as_ref() != Some(&present)
        {
            held.row.iter().for_each(|before| changes.subtract(workspace, before));
            changes.add(workspace, &present);
            written_presents.push(present);
        }
    }
    rows::delete(tx, &gone).await?;
    rows::upsert(tx, &written).await?;
    rows::upsert(tx, &written_presents).await
}

/// What a batch added to the timelines.
#[derive(Default)]
struct Added {
    /// For each agent the earliest moment at which something was added.
    changed: BTreeMap<Key, OccurredAt>,
    /// The new entries.
    entries: BTreeMap<Key, Vec<Entry>>,
    /// The facts behind them, each by the arrival that counts.
    new: BTreeSet<(FactId, i64)>,
}

/// Adds entries that are new; a repeat adds nothing.
async fn add_entries(tx: &mut PgConnection, facts: &[Arrived]) -> Result<Added, PostgresError> {
    let mut table = Table::default();
    let mut told: Vec<(Key, Entry)> = Vec::new();
    for Arrived { fact, offset, .. } in facts {
        let Some((agent, entry)) = Entry::of(fact, offset.0) else {
            continue;
        };
        tell(&mut table, &fact.workspace, &agent, &entry);
        told.push(((fact.workspace.clone(), agent), entry));
    }
    // A repeat within the batch meets the row of the first: the earlier arrival stays, as between batches.
    let key = ["fact_id", "workspace_id"];
    let inserted = table.insert_new(tx, TIMELINE, &key, "fact_id, arrival").await?;
    let mut added = Added::default();
    for row in &inserted {
        added.new.insert((FactId::from_uuid(row.try_get::<Uuid, _>(0)?), row.try_get(1)?));
    }
    for (key, entry) in told {
        if !added.new.contains(&(entry.fact, entry.arrival)) {
            continue;
        }
        match added.changed.get_mut(&key) {
            Some(earliest) => *earliest = entry.at.min(*earliest),
            None => {
                added.changed.insert(key.clone(), entry.at);
            }
        }
        added.entries.entry(key).or_default().push(entry);
    }
    Ok(added)
}

fn tell(table: &mut Table, workspace: &WorkspaceId, agent: &AgentId, entry: &Entry) {
    let (state, reason, call, rests_on) = match &entry.says {
        Says::State { state, reason } => (Some(state.as_str()), reason.as_deref(), None, None),
        Says::Touch { call } => (None, None, Some(call.as_str()), None),
        Says::Decided { state, reason, rests_on } => {
            (Some(state.as_str()), Some(reason.as_str()), None, Some(rests_on.uuid()))
        }
    };
    table.text("workspace_id", Some(workspace.as_str()));
    table.text("agent_id", Some(agent.as_str()));
    table.at("occurred_at", Some(entry.at));
    table.int("arrival", Some(entry.arrival));
    table.id("fact_id", Some(entry.fact.uuid()));
    table.text("state", state);
    table.text("reason", reason);
    table.text("call_id", call);
    table.id("rests_on", rests_on);
    table.end_row();
}

type Columns<'a> = (Vec<&'a str>, Vec<&'a str>, Vec<DateTime<Utc>>);

fn columns<'a>(changed: impl Iterator<Item = (&'a Key, OccurredAt)>) -> Columns<'a> {
    let mut columns: Columns<'a> = (Vec::new(), Vec::new(), Vec::new());
    for ((workspace, agent), at) in changed {
        columns.0.push(workspace.as_str());
        columns.1.push(agent.as_str());
        columns.2.push(to_sql(at));
    }
    columns
}

async fn load_tails(tx: &mut PgConnection, added: &mut Added) -> Result<Vec<(Key, Tail)>, PostgresError> {
    let keys: Vec<&Key> = added.changed.keys().collect();
    let (workspaces, agents, moments) = columns(added.changed.iter().map(|(key, at)| (key, *at)));
    // From the second last interval that a state fact began before the change: it is the context, what follows is computed
    // anew. All of them where there are no two such.
    let found = sqlx::query(
        "select asked.place, held.state, held.reason, held.started_at, held.ended_at, held.call_id, held.presumed
         from unnest($1::text[], $2::text[], $3::timestamptz[]) with ordinality
              as asked (workspace_id, agent_id, changed_at, place)
         cross join lateral (
             select case when count(*) = 2 then min(earlier.started_at) else '-infinity' end as from_at from (
                 select started_at from agent_intervals as told
                 where told.workspace_id = asked.workspace_id and told.agent_id = asked.agent_id
                   and told.started_at < asked.changed_at and not told.presumed
                 order by told.started_at desc limit 2
             ) as earlier
         ) as bound
         -- Fenced, so that it is not joined before its bound is known.
         cross join lateral (
             select * from agent_intervals as told
             where told.workspace_id = asked.workspace_id and told.agent_id = asked.agent_id
               and told.started_at >= bound.from_at
             offset 0
         ) as held
         order by asked.place, held.started_at",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .fetch_all(&mut *tx)
    .await?;
    let mut stored: Vec<Vec<Interval>> = vec![Vec::new(); keys.len()];
    for row in &found {
        if let Some(intervals) = stored.get_mut(rows::place(row)?) {
            intervals.push(rows::interval(row, 1)?);
        }
    }
    let mut tails: Vec<Tail> = Vec::with_capacity(keys.len());
    for (changed_at, stored) in added.changed.values().zip(stored) {
        tails.push(Tail { stale: StaleTail::of(stored, *changed_at), entries: Vec::new() });
    }
    load_entries(tx, &keys, &mut tails).await?;
    let keys: Vec<Key> = keys.into_iter().cloned().collect();
    for (key, tail) in keys.iter().zip(&mut tails) {
        tail.entries.extend(added.entries.remove(key).unwrap_or_default());
    }
    Ok(keys.into_iter().zip(tails).collect())
}

/// Loads what was there before this batch.
async fn load_entries(tx: &mut PgConnection, keys: &[&Key], tails: &mut [Tail]) -> Result<(), PostgresError> {
    let beginning = OccurredAt::from_millis(i64::MIN);
    let from = keys.iter().copied().zip(tails.iter().map(|tail| tail.stale.from.unwrap_or(beginning)));
    let (workspaces, agents, moments) = columns(from);
    // What this very transaction inserted is at hand.
    let found = sqlx::query(
        "select asked.place, held.occurred_at, held.arrival, held.fact_id, held.state, held.reason, held.call_id, held.rests_on
         from unnest($1::text[], $2::text[], $3::timestamptz[]) with ordinality
              as asked (workspace_id, agent_id, from_at, place)
         join agent_timeline as held
           on held.workspace_id = asked.workspace_id and held.agent_id = asked.agent_id
          and held.occurred_at >= asked.from_at - $4::bigint * interval '1 millisecond'
         where (held.state is null or held.occurred_at >= asked.from_at) and held.xmin <> pg_current_xact_id()::xid",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .bind(TOUCH_GRACE_MILLIS)
    .fetch_all(tx)
    .await?;
    for row in &found {
        if let Some(tail) = tails.get_mut(rows::place(row)?) {
            tail.entries.push(entry(row)?);
        }
    }
    Ok(())
}

fn entry(row: &PgRow) -> Result<Entry, PostgresError> {
    let state = |word: &str| AgentState::from_word(word).ok_or_else(|| bad(TIMELINE, "a state that is none"));
    let says = match (row.try_get::<Option<&str>, _>(4)?, row.try_get::<Option<Uuid>, _>(7)?) {
        (Some(word), None) => Says::State { state: state(word)?, reason: row.try_get(5)? },
        (Some(word), Some(ground)) => {
            Says::Decided { state: state(word)?, reason: row.try_get(5)?, rests_on: FactId::from_uuid(ground) }
        }
        (None, _) => Says::Touch { call: CallId::new(row.try_get(6)?).map_err(|error| bad(TIMELINE, error))? },
    };
    Ok(Entry { at: moment(row.try_get(1)?), arrival: row.try_get(2)?, fact: FactId::from_uuid(row.try_get(3)?), says })
}

async fn load_presents(
    tx: &mut PgConnection,
    changed: &BTreeMap<Key, OccurredAt>,
) -> Result<BTreeMap<Key, Present>, PostgresError> {
    let keys: Vec<&Key> = changed.keys().collect();
    let (workspaces, agents, _) = columns(changed.iter().map(|(key, at)| (key, *at)));
    let found = sqlx::query(
        "select asked.place, known.registers, held.*
         from unnest($1::text[], $2::text[]) with ordinality as asked (workspace_id, agent_id, place)
         left join agent_registers as known
           on known.workspace_id = asked.workspace_id and known.agent_id = asked.agent_id
         left join agents as held on held.workspace_id = asked.workspace_id and held.agent_id = asked.agent_id",
    )
    .bind(&workspaces)
    .bind(&agents)
    .fetch_all(tx)
    .await?;
    let mut presents = BTreeMap::new();
    for row in &found {
        let Some(key) = keys.get(rows::place(row)?) else { continue };
        let registers = match row.try_get::<Option<&[u8]>, _>("registers")? {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| bad(REGISTERS, error))?,
            None => Registers::default(),
        };
        let known: Option<&str> = row.try_get("workspace_id")?;
        let held = known.map(|_| rows::agent_row(row)).transpose()?;
        presents.insert((*key).clone(), Present { registers, row: held });
    }
    Ok(presents)
}

/// Joins what the batch's new facts say of names and modes. A repeat comes later than its first arrival, so it must not
/// be asked again.
async fn join_registers(
    tx: &mut PgConnection,
    facts: &[Arrived],
    new: &BTreeSet<(FactId, i64)>,
    presents: &mut BTreeMap<Key, Present>,
) -> Result<(), PostgresError> {
    let mut learnt: BTreeMap<Key, Registers> = BTreeMap::new();
    for Arrived { fact, offset, .. } in facts {
        let Some(agent) = &fact.agent else { continue };
        if !new.contains(&(fact.id, offset.0)) {
            continue;
        }
        let key = (fact.workspace.clone(), agent.clone());
        match learnt.get_mut(&key) {
            Some(registers) => registers.join(fact, offset.0),
            None => {
                let mut registers = presents.get(&key).map(|present| present.registers.clone()).unwrap_or_default();
                registers.join(fact, offset.0);
                learnt.insert(key, registers);
            }
        }
    }
    let mut table = Table::default();
    for (key, registers) in learnt {
        let present = presents.entry(key.clone()).or_default();
        if present.registers == registers {
            continue;
        }
        table.text("workspace_id", Some(key.0.as_str()));
        table.text("agent_id", Some(key.1.as_str()));
        table.bytes("registers", &serde_json::to_vec(&registers).map_err(|error| bad(REGISTERS, error))?);
        table.end_row();
        present.registers = registers;
    }
    table.upsert(tx, REGISTERS, &["workspace_id", "agent_id"]).await
}
