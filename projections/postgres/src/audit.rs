//! Every column of every table of the live generation against a fold of the same facts: for proof.
//!
//! What is stored is read as Postgres shows it, and not by the types of the folds: a moment that lies a microsecond off, or a
//! word that no build writes, is a difference as any other and no fault of the reading. What the folds keep is compared by what
//! it means to them, for older builds wrote it in other forms. Columns that nobody tells are differences too.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use helix_fold::{
    agent::{AgentRow, Entry, IntervalRow, Registers, Says},
    books::QueueDayRow,
    call::{CallLegRow, CallRow, CallState, Handling},
    missed::MissedCallRow,
    row::{Cell, Row},
    workspace::{Rows, WorkspaceFold},
};
use helix_schemas::names::{AgentId, CallId, WorkspaceId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgPool};

use crate::{
    AllSettings, OtherSetting, PostgresError,
    generation::{READ_TABLES, STATE_TABLES},
    roots::StoredRoot,
    row_settings,
    rows::{Stored, caller_key},
    snapshot::{Moment, Standing},
};

/// One moment of the live generation, with every value of it.
#[derive(Debug)]
pub struct Audit {
    /// Where it stood, by partition.
    pub progress: BTreeMap<i32, i64>,
    /// Its stored roots, by workspace.
    pub roots: BTreeMap<String, StoredRoot>,
    /// Where the facts lie that it has set aside, by partition and offset.
    pub parked: BTreeSet<(i32, i64)>,
    tables: BTreeMap<WorkspaceId, Tables>,
    made_with: AllSettings,
}

/// A workspace's rows by table, each the text of a JSON object: a row is taken apart only while it is compared.
type Tables = BTreeMap<&'static str, Vec<Box<str>>>;

/// The first value that is not what the facts say. It may be personal data: it is for whoever asked, never for a log.
#[derive(Clone, PartialEq, Eq)]
pub struct RowDifference {
    /// The table, without its schema.
    pub table: &'static str,
    /// The row's key within its workspace.
    pub key: String,
    /// The column, where the row is there on both sides.
    pub column: Option<String>,
    /// As stored; null where the row is missing.
    pub stored: Value,
    /// As the facts say; null where no row should be.
    pub folded: Value,
}

impl std::fmt::Debug for RowDifference {
    /// Coordinates only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowDifference")
            .field("table", &self.table)
            .field("column", &self.column)
            .finish_non_exhaustive()
    }
}

impl Audit {
    /// Reads everything, or what is of one workspace, in one snapshot of the database. A generation that is exchanged or
    /// thrown away meanwhile waits until it is read. `pool` comes from [`crate::connect`].
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take(pool: &PgPool, topic: &str, only: Option<&WorkspaceId>) -> Result<Self, PostgresError> {
        let mut moment = Moment::begin(pool).await?;
        let taken = Self::read(&mut moment.0, topic, only).await;
        moment.end().await?;
        taken
    }

    async fn read(tx: &mut PgConnection, topic: &str, only: Option<&WorkspaceId>) -> Result<Self, PostgresError> {
        let Standing { progress, roots, parked, workspaces, made_with } = Standing::read(tx, topic, only).await?;
        let mut tables = BTreeMap::new();
        for workspace in workspaces {
            let mut of_workspace = Tables::new();
            for table in READ_TABLES.into_iter().chain(STATE_TABLES) {
                let all = format!("select to_json(held)::text from {table} as held where workspace_id = $1");
                let all = sqlx::query_scalar(sqlx::AssertSqlSafe(all)).bind(workspace.as_str());
                of_workspace.insert(table, all.fetch_all(&mut *tx).await?);
            }
            tables.insert(workspace, of_workspace);
        }
        Ok(Self { progress, roots, parked, tables, made_with })
    }

    /// The settings under which the facts are to be folded: those that the rows were made with, and of workspaces without rows
    /// what is configured.
    #[must_use]
    pub fn settings(&self, configured: &AllSettings) -> AllSettings {
        configured.under(&self.made_with)
    }

    /// What a workspace has configured otherwise than its rows were made with, by name.
    ///
    /// # Errors
    /// Where settings cannot be written down.
    pub fn other_settings(
        &self,
        workspace: &WorkspaceId,
        configured: &AllSettings,
    ) -> Result<Vec<OtherSetting>, PostgresError> {
        Ok(row_settings::others(&self.made_with, configured)?.remove(workspace).unwrap_or_default())
    }

    /// Whose rows there are.
    pub fn workspaces(&self) -> impl Iterator<Item = &WorkspaceId> {
        self.tables.keys()
    }

    /// Rows of a workspace's read models.
    #[must_use]
    pub fn rows(&self, workspace: &WorkspaceId) -> usize {
        READ_TABLES.iter().map(|table| self.of(workspace, table).len()).sum()
    }

    fn of(&self, workspace: &WorkspaceId, table: &str) -> &[Box<str>] {
        self.tables.get(workspace).and_then(|tables| tables.get(table)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The first value of the fold's workspace that is not what the fold says. `rows` are the fold's.
    #[must_use]
    pub fn first_difference(&self, fold: &WorkspaceFold, rows: &Rows, settings: &AllSettings) -> Option<RowDifference> {
        let workspace = fold.workspace();
        let key = |caller: Option<&String>| caller_key(workspace, caller.map(String::as_str), settings);
        let linked = |mut told: Told<'static>, caller: Option<&String>| {
            told.push(("caller_key", Meant::of_text(key(caller))));
            told
        };
        self.differing::<AgentRow>(workspace, rows.agents.iter().map(told))
            .or_else(|| self.differing::<IntervalRow>(workspace, rows.intervals.iter().map(told)))
            .or_else(|| {
                let calls = rows.calls.iter().map(|row| linked(told(row), row.caller.as_ref()));
                self.differing::<CallRow>(workspace, calls)
            })
            .or_else(|| self.differing::<CallLegRow>(workspace, rows.legs.iter().map(told)))
            .or_else(|| {
                let missed = rows.missed_calls.iter().map(|row| linked(told(row), row.caller.as_ref()));
                self.differing::<MissedCallRow>(workspace, missed)
            })
            .or_else(|| self.differing::<QueueDayRow>(workspace, rows.queue_days.iter().map(told)))
            .or_else(|| self.in_what_folds_keep(fold))
    }

    fn in_what_folds_keep(&self, fold: &WorkspaceFold) -> Option<RowDifference> {
        let workspace = fold.workspace();
        let timelines = fold
            .agents()
            .flat_map(|(agent, of_agent)| of_agent.entries().map(move |entry| told_entry(workspace, agent, &entry)));
        let known = fold.agents().filter(|(_, of_agent)| of_agent.entries().next().is_some());
        let registers = known.map(|(agent, of_agent)| told_registers(workspace, agent, of_agent.registers()));
        let known = fold.calls().filter(|(_, state)| **state != CallState::default());
        let states = known.map(|(call, state)| told_state(workspace, call, state));
        let of = |table| self.of(workspace, table);
        differing("agent_timeline", &["fact_id"], of("agent_timeline"), timelines)
            .or_else(|| differing("agent_registers", &["agent_id"], of("agent_registers"), registers))
            .or_else(|| differing("call_states", &["call_id"], of("call_states"), states))
    }

    fn differing<'a, R: Stored>(
        &self,
        workspace: &WorkspaceId,
        told: impl Iterator<Item = Told<'a>>,
    ) -> Option<RowDifference> {
        // The workspace, the first of its key, is one.
        let key = R::KEY.get(1..).unwrap_or_default();
        differing(R::TABLE, key, self.of(workspace, R::TABLE), told)
    }
}

/// What a column is to hold.
enum Meant<'a> {
    Cell(Cell),
    /// The bytes of what a fold keeps.
    Registers(&'a Registers),
    State(&'a CallState),
}

/// The columns of a row as the fold has it.
type Told<'a> = Vec<(&'static str, Meant<'a>)>;

impl Meant<'_> {
    fn text(text: &str) -> Self {
        Self::Cell(Cell::Text(text.to_owned()))
    }

    fn of_text(text: Option<String>) -> Self {
        Self::Cell(text.map_or(Cell::Null, Cell::Text))
    }

    fn is(&self, stored: &Value) -> bool {
        match self {
            Self::Cell(cell @ Cell::At(_)) => shown_moment(stored).is_some_and(|shown| shown == cell.to_json()),
            Self::Cell(cell) => *stored == cell.to_json(),
            Self::Registers(registers) => read::<Registers>(stored).is_some_and(|read| read == **registers),
            Self::State(state) => read::<CallState>(stored).is_some_and(|read| read == **state),
        }
    }

    fn shown(&self) -> Value {
        match self {
            Self::Cell(cell) => cell.to_json(),
            Self::Registers(registers) => serde_json::to_value(registers).unwrap_or_default(),
            Self::State(state) => serde_json::to_value(state).unwrap_or_default(),
        }
    }
}

fn told<R: Row>(row: &R) -> Told<'static> {
    row.columns().into_iter().map(|(name, cell)| (name, Meant::Cell(cell))).collect()
}

fn told_entry(workspace: &WorkspaceId, agent: &AgentId, entry: &Entry) -> Told<'static> {
    let (state, reason, call, rests_on) = match &entry.says {
        Says::State { state, reason } => (Some(state.as_str()), reason.clone(), None, None),
        Says::Touch { call } => (None, None, Some(call.to_string()), None),
        Says::Decided { state, reason, rests_on } => {
            (Some(state.as_str()), Some(reason.clone()), None, Some(rests_on.to_string()))
        }
    };
    vec![
        ("workspace_id", Meant::text(workspace.as_str())),
        ("agent_id", Meant::text(agent.as_str())),
        ("occurred_at", Meant::Cell(Cell::At(entry.at))),
        ("arrival", Meant::Cell(Cell::Int(entry.arrival))),
        ("fact_id", Meant::text(&entry.fact.to_string())),
        ("state", Meant::of_text(state.map(str::to_owned))),
        ("reason", Meant::of_text(reason)),
        ("call_id", Meant::of_text(call)),
        ("rests_on", Meant::of_text(rests_on)),
    ]
}

fn told_registers<'a>(workspace: &WorkspaceId, agent: &AgentId, registers: &'a Registers) -> Told<'a> {
    vec![
        ("workspace_id", Meant::text(workspace.as_str())),
        ("agent_id", Meant::text(agent.as_str())),
        ("registers", Meant::Registers(registers)),
    ]
}

fn told_state<'a>(workspace: &WorkspaceId, call: &CallId, state: &'a CallState) -> Told<'a> {
    vec![
        ("workspace_id", Meant::text(workspace.as_str())),
        ("call_id", Meant::text(call.as_str())),
        ("state", Meant::State(state)),
        ("handled", Meant::Cell(Cell::Bool(state.handling() != Handling::default()))),
    ]
}

/// A moment as Postgres shows it, as a cell shows it. What lies between two milliseconds keeps its fraction.
fn shown_moment(stored: &Value) -> Option<Value> {
    let at = DateTime::parse_from_rfc3339(stored.as_str()?).ok()?.with_timezone(&Utc);
    let whole = at.timestamp_subsec_nanos() % 1_000_000 == 0;
    let digits = if whole { SecondsFormat::Millis } else { SecondsFormat::Micros };
    Some(at.to_rfc3339_opts(digits, true).into())
}

/// What a fold kept, from the bytes as Postgres shows them.
fn read<T: DeserializeOwned>(stored: &Value) -> Option<T> {
    serde_json::from_slice(&bytes(stored)?).ok()
}

fn bytes(stored: &Value) -> Option<Vec<u8>> {
    let digits = stored.as_str()?.strip_prefix("\\x")?.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// A stored row, taken apart.
fn row(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(row)) => row,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// The values of a key. A moment in it is shown as a cell shows it, so that both sides have one spelling.
fn key_of(key: &[&str], value: impl Fn(&str) -> Value) -> Vec<String> {
    let shown = |name: &&str| {
        let value = value(name);
        let value = if name.ends_with("_at") { shown_moment(&value).unwrap_or(value) } else { value };
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    key.iter().map(shown).collect()
}

/// Compares a table, row by row.
fn differing<'a>(
    table: &'static str,
    key: &[&str],
    stored: &[Box<str>],
    told: impl Iterator<Item = Told<'a>>,
) -> Option<RowDifference> {
    let stored_key = |row: &Map<String, Value>| key_of(key, |name| row.get(name).cloned().unwrap_or_default());
    let mut held: BTreeMap<Vec<String>, &str> =
        stored.iter().map(|text| (stored_key(&row(text)), text.as_ref())).collect();
    for told in told {
        let meant = |name: &str| told.iter().find(|(told, _)| *told == name).map(|(_, meant)| meant.shown());
        let of_row = key_of(key, |name| meant(name).unwrap_or_default());
        let of_key = |column, stored, folded| RowDifference { table, key: of_row.join("@"), column, stored, folded };
        let Some(mut row) = held.remove(&of_row).map(row) else {
            let whole = told.iter().map(|(name, meant)| ((*name).to_owned(), meant.shown()));
            return Some(of_key(None, Value::Null, Value::Object(whole.collect())));
        };
        for (name, meant) in &told {
            let stored = row.remove(*name).unwrap_or_default();
            if !meant.is(&stored) {
                return Some(of_key(Some((*name).to_owned()), stored, meant.shown()));
            }
        }
        if let Some((name, stored)) = row.into_iter().next() {
            return Some(of_key(Some(name), stored, Value::Null));
        }
    }
    let (of_row, text) = held.into_iter().next()?;
    Some(RowDifference {
        table,
        key: of_row.join("@"),
        column: None,
        stored: Value::Object(row(text)),
        folded: Value::Null,
    })
}
