//! Agents: load the tails of the timelines that the batch changes, compute them anew, write the difference.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use helix_fold::{
    agent::{AgentRow, Entry, Interval, IntervalRow, Registers, Says, TOUCH_GRACE_MILLIS},
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
    tail::{Stale, Tail, is_state},
};

const TIMELINE: &str = "agent_timeline";
const REGISTERS: &str = "agent_registers";
/// So many entries beyond a change and what is in reach of it are read at first: what comes later mostly stands.
const LOOKAHEAD: usize = 64;
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
    stale: Stale,
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
        let remembered = memory.agents.take(&key).and_then(|tail| Some((tail.stale(added.earliest())?, tail)));
        match remembered {
            Some((stale, tail)) => {
                let last = tail.intervals.last().zip(tail.registers.as_ref());
                let row = last.and_then(|(last, registers)| AgentRow::of(&key.0, &key.1, last, registers));
                agents.push(Agent { key, added, tail, stale, row });
            }
            None => unknown.push((key, added)),
        }
    }
    load_grounds(tx, &mut agents).await?;
    if !unknown.is_empty() {
        let (mut read, doubtful) = read(tx, unknown, Some(LOOKAHEAD)).await?;
        if !doubtful.is_empty() {
            read.extend(self::read(tx, doubtful, None).await?.0);
        }
        load_presents(tx, &mut read).await?;
        agents.extend(read);
    }
    Ok(Loaded(agents))
}

/// Reads so far beyond each change; gives also those agents of whom more must be read.
async fn read(
    tx: &mut PgConnection,
    unknown: Vec<(Key, Added)>,
    lookahead: Option<usize>,
) -> Result<(Vec<Agent>, Vec<(Key, Added)>), PostgresError> {
    let entries = load_entries(tx, &unknown, lookahead).await?;
    let reach = |added: &Added, entries: &[Entry]| lookahead.and_then(|most| Reach::of(added, entries, most));
    let reaches: Vec<Option<Reach>> =
        unknown.iter().zip(&entries).map(|((_, added), entries)| reach(added, entries)).collect();
    let until: Vec<Option<OccurredAt>> = reaches.iter().map(|reach| reach.as_ref()?.until).collect();
    let stored = load_intervals(tx, &unknown, &until).await?;
    let mut agents: Vec<Agent> = Vec::with_capacity(unknown.len());
    for (((key, added), entries), (stored, until)) in
        unknown.into_iter().zip(entries).zip(stored.into_iter().zip(until))
    {
        let stale = Stale::of(stored.clone(), added.earliest(), until);
        let (whole, from) = (stale.holds_the_first(), added.earliest());
        let tail = Tail { whole, intervals: stored, from, entries, registers: None };
        agents.push(Agent { key, added, tail, stale, row: None });
    }
    load_touches(tx, &mut agents).await?;
    load_grounds(tx, &mut agents).await?;
    let (mut sure, mut doubtful) = (Vec::with_capacity(agents.len()), Vec::new());
    for (agent, reach) in agents.into_iter().zip(reaches) {
        let ends = reach.is_none_or(|reach| reach.until.is_some());
        if ends && agent.stale.leads_on(&agent.tail.computed(&agent.stale, &agent.added.entries)) {
            sure.push(agent);
        } else {
            doubtful.push((agent.key, agent.added));
        }
    }
    Ok((sure, doubtful))
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
        let computed = tail.computed(&stale, &added.entries);
        let last = if stale.leaves_the_last() { None } else { computed.last() };
        let after = match (last, &row_before) {
            (Some(last), _) => AgentRow::of(workspace, name, last, &registers),
            // Its state stands; what a late fact says besides may be news.
            (None, Some(row)) => Some(AgentRow {
                name: registers.name.get().cloned(),
                mode: registers.mode.get().cloned(),
                ..row.clone()
            }),
            (None, None) => None,
        };
        // Entries are never taken back, so an agent that has a state keeps one.
        if let Some(after) = after {
            folded.presents.row(settings, changes, row_before.as_ref(), Some(&after));
        }
        // Of an agent without a state no entries are read.
        let remembered = stale.until.is_none() && !computed.is_empty();
        if remembered {
            tail.put(&stale, added.entries, &computed);
        }
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
        if remembered {
            folded.tails.push((key, tail));
        }
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

    /// What begins later than this is in reach of nothing that is added.
    fn reach(&self) -> OccurredAt {
        let latest = self.entries.iter().map(|entry| entry.at).max().unwrap_or(BEGINNING);
        OccurredAt::from_millis(latest.millis().saturating_add(TOUCH_GRACE_MILLIS))
    }
}

/// Where reading ended, if not at the end of an agent's entries.
struct Reach {
    /// A moment in which a state fact lies, with all that is said of that moment; absent where none was met.
    until: Option<OccurredAt>,
}

impl Reach {
    fn of(added: &Added, entries: &[Entry], most: usize) -> Option<Self> {
        let reach = added.reach();
        let beyond = || entries.iter().filter(|entry| entry.at > reach);
        if beyond().count() < most {
            return None;
        }
        // Of the last moment there may be more.
        let end = beyond().map(|entry| entry.at).max();
        let states = beyond().filter(|entry| Some(entry.at) < end && is_state(&entry.says));
        Some(Self { until: states.map(|entry| entry.at).max() })
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

/// The stored entries from each change on, and so many beyond what is in reach of it, or all: for each agent, in the order
/// given. None of an agent who has no state and gets none: touches alone make no interval.
async fn load_entries(
    tx: &mut PgConnection,
    of: &[(Key, Added)],
    lookahead: Option<usize>,
) -> Result<Vec<Vec<Entry>>, PostgresError> {
    let (workspaces, agents, moments) = columns(of.iter().map(|(key, added)| (key, added.earliest())));
    let reaches: Vec<DateTime<Utc>> = of.iter().map(|(_, added)| to_sql(added.reach())).collect();
    let with_state: Vec<bool> =
        of.iter().map(|(_, added)| added.entries.iter().any(|entry| is_state(&entry.says))).collect();
    let found = sqlx::query(
        "select asked.place, held.*
         from (
             select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::boolean[])
                  with ordinality as told (workspace_id, agent_id, from_at, reach, with_state, place)
             where told.with_state or exists (
                 select from agent_intervals as known
                 where known.workspace_id = told.workspace_id and known.agent_id = told.agent_id)
             offset 0
         ) as asked
         cross join lateral (
             (select occurred_at, arrival, fact_id, state, reason, call_id, rests_on from agent_timeline as near
              where near.workspace_id = asked.workspace_id and near.agent_id = asked.agent_id
                and near.occurred_at >= asked.from_at and near.occurred_at <= asked.reach)
             union all
             (select occurred_at, arrival, fact_id, state, reason, call_id, rests_on from agent_timeline as far
              where far.workspace_id = asked.workspace_id and far.agent_id = asked.agent_id
                and far.occurred_at > asked.reach
              order by far.occurred_at, far.arrival limit $6::bigint)
         ) as held",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .bind(&reaches)
    .bind(&with_state)
    .bind(lookahead.and_then(|most| i64::try_from(most).ok()))
    .fetch_all(tx)
    .await?;
    let mut entries: Vec<Vec<Entry>> = vec![Vec::new(); of.len()];
    for row in &found {
        if let Some(entries) = entries.get_mut(rows::place(row)?) {
            entries.push(entry(row)?);
        }
    }
    Ok(entries)
}

/// The stored intervals from the second last before each change on, as far as entries were read: for each agent, in the
/// order given.
async fn load_intervals(
    tx: &mut PgConnection,
    of: &[(Key, Added)],
    until: &[Option<OccurredAt>],
) -> Result<Vec<Vec<Interval>>, PostgresError> {
    let (workspaces, agents, moments) = columns(of.iter().map(|(key, added)| (key, added.earliest())));
    let until: Vec<Option<DateTime<Utc>>> = until.iter().map(|until| until.map(to_sql)).collect();
    let found = sqlx::query(
        "select asked.place, held.state, held.reason, held.started_at, held.ended_at, held.call_id, held.presumed
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) with ordinality
              as asked (workspace_id, agent_id, changed_at, until, place)
         cross join lateral (
             select case when count(*) = 2 then min(earlier.started_at) else '-infinity' end as from_at from (
                 select started_at from agent_intervals as told
                 where told.workspace_id = asked.workspace_id and told.agent_id = asked.agent_id
                   and told.started_at < asked.changed_at
                 order by told.started_at desc limit 2
             ) as earlier
         ) as bound
         -- Fenced, so that it is not joined before its bound is known.
         cross join lateral (
             select * from agent_intervals as told
             where told.workspace_id = asked.workspace_id and told.agent_id = asked.agent_id
               and told.started_at >= bound.from_at and told.started_at <= coalesce(asked.until, 'infinity')
             offset 0
         ) as held
         order by asked.place, held.started_at",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .bind(&until)
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

/// Of each agent the last touch before the change, where it may be a stale interval's.
async fn load_touches(tx: &mut PgConnection, of: &mut [Agent]) -> Result<(), PostgresError> {
    let (workspaces, agents, moments) = columns(of.iter().map(|agent| (&agent.key, agent.stale.changed)));
    let from: Vec<DateTime<Utc>> = of.iter().map(|agent| to_sql(agent.stale.touches_from())).collect();
    let found = sqlx::query(
        "select asked.place, held.*
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) with ordinality
              as asked (workspace_id, agent_id, changed_at, from_at, place)
         cross join lateral (
             select occurred_at, arrival, fact_id, state, reason, call_id, rests_on from agent_timeline as told
             where told.workspace_id = asked.workspace_id and told.agent_id = asked.agent_id
               and told.occurred_at >= asked.from_at and told.occurred_at < asked.changed_at and told.state is null
             order by told.occurred_at desc, told.arrival desc limit 1
         ) as held",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .bind(&from)
    .fetch_all(tx)
    .await?;
    for row in &found {
        if let Some(agent) = of.get_mut(rows::place(row)?) {
            agent.tail.entries.push(entry(row)?);
        }
    }
    Ok(())
}

/// The last state fact before the change, of those agents only of whom a decision asks for it.
async fn load_grounds(tx: &mut PgConnection, of: &mut [Agent]) -> Result<(), PostgresError> {
    let mut asked: Vec<&mut Agent> =
        of.iter_mut().filter(|agent| agent.tail.lacks_ground(&agent.stale, &agent.added.entries)).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let keys: Vec<(Key, OccurredAt)> = asked.iter().map(|agent| (agent.key.clone(), agent.stale.changed)).collect();
    let (workspaces, agents, moments) = columns(keys.iter().map(|(key, changed)| (key, *changed)));
    let found = sqlx::query(
        "select asked.place, held.*
         from unnest($1::text[], $2::text[], $3::timestamptz[]) with ordinality
              as asked (workspace_id, agent_id, changed_at, place)
         cross join lateral (
             select occurred_at, arrival, fact_id, state, reason, call_id, rests_on from agent_timeline as told
             where told.workspace_id = asked.workspace_id and told.agent_id = asked.agent_id
               and told.occurred_at < asked.changed_at and told.state is not null and told.rests_on is null
             order by told.occurred_at desc, told.arrival desc limit 1
         ) as held",
    )
    .bind(&workspaces)
    .bind(&agents)
    .bind(&moments)
    .fetch_all(tx)
    .await?;
    for row in &found {
        if let Some(agent) = asked.get_mut(rows::place(row)?) {
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
