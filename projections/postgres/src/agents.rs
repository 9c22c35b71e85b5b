//! Agents: load the tails of the timelines that the batch changes, compute them anew, write the difference.

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
    AllSettings, PostgresError,
    batch::{Arrived, Changes},
    columns::Table,
    memory::Memory,
    rows::{self, Difference, bad, moment, to_sql},
    tail::Tail,
};

const TIMELINE: &str = "agent_timeline";
const REGISTERS: &str = "agent_registers";
/// Earlier than every fact.
const BEGINNING: OccurredAt = OccurredAt::from_millis(i64::MIN);

type Key = (WorkspaceId, AgentId);

/// What a batch adds to one agent's timeline.
#[derive(Default)]
struct Added {
    entries: Vec<Entry>,
    /// The places of the facts behind them.
    facts: Vec<usize>,
}

/// One agent of the batch.
struct Agent {
    key: Key,
    added: Added,
    /// What is known of it.
    tail: Tail,
    /// What of that must be computed anew.
    stale: StaleTail,
    /// Its row, as stored.
    row: Option<AgentRow>,
}

/// The agents of a batch with what is stored of them.
pub(crate) struct Loaded(Vec<Agent>);

/// What is to be written of agents.
#[derive(Default)]
pub(crate) struct Folded {
    timeline: Table,
    new_registers: Table,
    changed_registers: Table,
    intervals: Difference<IntervalRow>,
    presents: Difference<AgentRow>,
    tails: Vec<(Key, Tail)>,
}

/// What the batch adds, and what it adds to: remembered, or else read.
pub(crate) async fn load(
    tx: &mut PgConnection,
    facts: &[Arrived],
    memory: &mut Memory,
) -> Result<Loaded, PostgresError> {
    let (mut agents, mut unknown) = (Vec::new(), Vec::new());
    for (key, added) in added(tx, facts).await? {
        let earliest = added.earliest();
        let remembered = memory.agents.take(&key).and_then(|tail| Some((tail.stale(earliest)?, tail)));
        match remembered {
            Some((stale, tail)) => {
                let last = tail.intervals.last().zip(tail.registers.as_ref());
                let row = last.and_then(|(last, registers)| AgentRow::of(&key.0, &key.1, last, registers));
                agents.push(Agent { key, added, tail, stale, row });
            }
            None => unknown.push((key, added)),
        }
    }
    if !unknown.is_empty() {
        agents.extend(read(tx, unknown).await?);
    }
    Ok(Loaded(agents))
}

async fn read(tx: &mut PgConnection, unknown: Vec<(Key, Added)>) -> Result<Vec<Agent>, PostgresError> {
    let mut agents: Vec<Agent> = Vec::with_capacity(unknown.len());
    let stored = load_intervals(tx, &unknown).await?;
    for ((key, added), stored) in unknown.into_iter().zip(stored) {
        let stale = StaleTail::of(stored, added.earliest());
        // What lies further back was asked for to find out where to begin; its entries are not.
        let intervals = stale.before.iter().chain(&stale.stored).cloned().collect();
        let tail = Tail { whole: stale.from.is_none(), intervals, ..Tail::default() };
        agents.push(Agent { key, added, tail, stale, row: None });
    }
    load_entries(tx, &mut agents).await?;
    load_presents(tx, &mut agents).await?;
    Ok(agents)
}

/// Computes the changed tails anew. No database: it may go on beside one.
pub(crate) fn fold(
    facts: &[Arrived],
    loaded: Loaded,
    settings: &AllSettings,
    changes: &mut Changes,
) -> Result<Folded, PostgresError> {
    let mut folded = Folded::default();
    for Agent { key, added, mut tail, stale, row: row_before } in loaded.0 {
        let (workspace, name) = &key;
        let mut registers = tail.registers.clone().unwrap_or_default();
        for Arrived { fact, offset, .. } in added.facts.iter().filter_map(|place| facts.get(*place)) {
            registers.join(fact, offset.0);
        }
        folded.registers(&key, tail.registers.as_ref(), &registers)?;
        added.entries.iter().for_each(|entry| tell(&mut folded.timeline, workspace, name, entry));
        let mut entries = tail.take_entries(&stale);
        entries.extend(added.entries);
        let computed = intervals(stale.before.as_ref(), &entries);
        let last = computed.last().or(stale.before.as_ref());
        // Entries are never taken back, so an agent that has a state keeps one.
        if let Some(after) = last.and_then(|last| AgentRow::of(workspace, name, last, &registers)) {
            folded.presents.row(settings, changes, row_before.as_ref(), Some(&after));
        }
        tail.put(&stale, entries, &computed);
        let row = |interval| IntervalRow { workspace: workspace.clone(), agent: name.clone(), interval };
        let mut stored: BTreeMap<OccurredAt, Interval> =
            stale.stored.into_iter().map(|interval| (interval.started_at, interval)).collect();
        for interval in computed {
            let before = stored.remove(&interval.started_at);
            if before.as_ref() != Some(&interval) {
                folded.intervals.row(settings, changes, before.map(row).as_ref(), Some(&row(interval)));
            }
        }
        for interval in stored.into_values().map(row) {
            folded.intervals.row(settings, changes, Some(&interval), None);
        }
        tail.registers = Some(registers);
        folded.tails.push((key, tail));
    }
    Ok(folded)
}

impl Folded {
    fn registers(&mut self, key: &Key, before: Option<&Registers>, after: &Registers) -> Result<(), PostgresError> {
        let table = match before {
            None => &mut self.new_registers,
            Some(before) if before == after => return Ok(()),
            Some(_) => &mut self.changed_registers,
        };
        table.text("workspace_id", Some(key.0.as_str()));
        table.text("agent_id", Some(key.1.as_str()));
        table.bytes("registers", &serde_json::to_vec(after).map_err(|error| bad(REGISTERS, error))?);
        table.end_row();
        Ok(())
    }

    /// Gives the tails as they are now.
    pub(crate) async fn write(self, tx: &mut PgConnection) -> Result<Vec<(Key, Tail)>, PostgresError> {
        self.timeline.insert(tx, TIMELINE).await?;
        self.changed_registers.update(tx, REGISTERS, &["workspace_id", "agent_id"]).await?;
        self.new_registers.insert(tx, REGISTERS).await?;
        self.intervals.write(tx).await?;
        self.presents.write(tx).await?;
        Ok(self.tails)
    }
}

impl Added {
    /// The moment from which on the agent's story changes.
    fn earliest(&self) -> OccurredAt {
        self.entries.iter().map(|entry| entry.at).min().unwrap_or(BEGINNING)
    }
}

/// What the batch adds to the timelines; a repeat adds nothing, neither of a fact that is stored nor of one before it in
/// the batch: the earlier arrival stays.
async fn added(tx: &mut PgConnection, facts: &[Arrived]) -> Result<BTreeMap<Key, Added>, PostgresError> {
    let mut told: Vec<Option<(usize, AgentId, Entry)>> = Vec::new();
    let (mut ids, mut workspaces): (Vec<Uuid>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut seen: BTreeSet<(FactId, &WorkspaceId)> = BTreeSet::new();
    for (place, Arrived { fact, offset, .. }) in facts.iter().enumerate() {
        if let Some((agent, entry)) = Entry::of(fact, offset.0)
            && seen.insert((entry.fact, &fact.workspace))
        {
            ids.push(entry.fact.uuid());
            workspaces.push(fact.workspace.as_str());
            told.push(Some((place, agent, entry)));
        }
    }
    if told.is_empty() {
        return Ok(BTreeMap::new());
    }
    let repeats = sqlx::query(
        "select asked.place
         from unnest($1::uuid[], $2::text[]) with ordinality as asked (fact_id, workspace_id, place)
         join agent_timeline as held on held.fact_id = asked.fact_id and held.workspace_id = asked.workspace_id",
    )
    .bind(&ids)
    .bind(&workspaces)
    .fetch_all(tx)
    .await?;
    for row in &repeats {
        if let Some(told) = told.get_mut(rows::place(row)?) {
            *told = None;
        }
    }
    let mut added: BTreeMap<Key, Added> = BTreeMap::new();
    for (place, agent, entry) in told.into_iter().flatten() {
        let Some(Arrived { fact, .. }) = facts.get(place) else { continue };
        let added = added.entry((fact.workspace.clone(), agent)).or_default();
        added.entries.push(entry);
        added.facts.push(place);
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

fn columns<'a>(from: impl Iterator<Item = (&'a Key, OccurredAt)>) -> Columns<'a> {
    let mut columns: Columns<'a> = (Vec::new(), Vec::new(), Vec::new());
    for ((workspace, agent), at) in from {
        columns.0.push(workspace.as_str());
        columns.1.push(agent.as_str());
        columns.2.push(to_sql(at));
    }
    columns
}

/// The stored intervals that may change, with what they rest on: for each agent, in the order given.
async fn load_intervals(tx: &mut PgConnection, of: &[(Key, Added)]) -> Result<Vec<Vec<Interval>>, PostgresError> {
    let (workspaces, agents, moments) = columns(of.iter().map(|(key, added)| (key, added.earliest())));
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
    let mut stored: Vec<Vec<Interval>> = vec![Vec::new(); of.len()];
    for row in &found {
        if let Some(intervals) = stored.get_mut(rows::place(row)?) {
            intervals.push(rows::interval(row, 1)?);
        }
    }
    Ok(stored)
}

async fn load_entries(tx: &mut PgConnection, of: &mut [Agent]) -> Result<(), PostgresError> {
    let from = of.iter().map(|agent| (&agent.key, agent.stale.from.unwrap_or(BEGINNING)));
    let (workspaces, agents, moments) = columns(from);
    let found = sqlx::query(
        "select asked.place, held.occurred_at, held.arrival, held.fact_id, held.state, held.reason, held.call_id, held.rests_on
         from unnest($1::text[], $2::text[], $3::timestamptz[]) with ordinality
              as asked (workspace_id, agent_id, from_at, place)
         join agent_timeline as held
           on held.workspace_id = asked.workspace_id and held.agent_id = asked.agent_id
          and held.occurred_at >= asked.from_at - $4::bigint * interval '1 millisecond'
         where (held.state is null or held.occurred_at >= asked.from_at)",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .bind(TOUCH_GRACE_MILLIS)
    .fetch_all(tx)
    .await?;
    for row in &found {
        if let Some(agent) = of.get_mut(rows::place(row)?) {
            agent.tail.entries.push(entry(row)?);
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

async fn load_presents(tx: &mut PgConnection, of: &mut [Agent]) -> Result<(), PostgresError> {
    let (workspaces, agents, _) = columns(of.iter().map(|agent| (&agent.key, BEGINNING)));
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
    for row in &found {
        let Some(agent) = of.get_mut(rows::place(row)?) else { continue };
        if let Some(bytes) = row.try_get::<Option<&[u8]>, _>("registers")? {
            agent.tail.registers = Some(serde_json::from_slice(bytes).map_err(|error| bad(REGISTERS, error))?);
        }
        let known: Option<&str> = row.try_get("workspace_id")?;
        agent.row = known.map(|_| rows::agent_row(row)).transpose()?;
    }
    Ok(())
}
