//! A store's place for one case: made for it, asked how far it is, and judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use anyhow::{Context, Result};
use helix_clickhouse::audit::{Audit, expected, first_difference};
use helix_fold::{board::Board, row::Row, settings::Settings, workspace::WorkspaceFold};
use helix_live::audit::stored_board;
use helix_postgres::Snapshot;
use helix_schemas::names::WorkspaceId;
use serde::Serialize;
use sqlx::{Connection, PgConnection, PgPool};

use crate::{
    automation,
    world::{Placed, World},
};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The read models.
    Postgres,
    /// The analytics facts.
    Clickhouse,
    /// A workspace's board in Redis.
    Live,
    /// What automation remembers and decides.
    Automation,
}

impl Kind {
    /// Every store that is a projection of the facts alone.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Clickhouse, Self::Live];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Clickhouse => "clickhouse",
            Self::Live => "live",
            Self::Automation => "automation",
        }
    }
}

/// One store, for one case.
#[derive(Debug)]
pub struct Subject {
    /// Which.
    pub kind: Kind,
    /// Where it is.
    pub place: String,
    /// ClickHouse's database; else empty.
    pub database: String,
    /// The hospital of the case.
    pub workspace: WorkspaceId,
    postgres: Option<PgPool>,
}

/// What became of the facts.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Rows that the log means and the store lacks.
    pub lost: usize,
    /// Rows that the store has and the log does not mean, or has more than once.
    pub duplicated: usize,
    /// Whether rows, root and the fold of the log are one.
    pub roots_equal: bool,
    /// The first thing that is wrong.
    pub first: Option<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.roots_equal
    }
}

impl Subject {
    /// Makes a place for a case.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn new(world: &World, kind: Kind, case: &str) -> Result<Self> {
        let workspace = WorkspaceId::new(case)?;
        let name = format!("faults_{}", case.replace('-', "_"));
        let config = &world.config;
        let (place, database, postgres) = match kind {
            Kind::Postgres | Kind::Automation => {
                let mut admin = PgConnection::connect(&world.postgres_admin).await?;
                sqlx::query(sqlx::AssertSqlSafe(format!("create database {name} owner helix")))
                    .execute(&mut admin)
                    .await?;
                let url = config.postgres.url.reveal();
                let (server, _) = url.rsplit_once('/').context("a database in the URL")?;
                let place = format!("{server}/{name}");
                let pool = if kind == Kind::Automation {
                    let pool = helix_automation::connect(&place, 2).await?;
                    helix_automation::migrate(&pool).await?;
                    pool
                } else {
                    let pool = helix_postgres::connect(&place, 2).await?;
                    helix_postgres::migrate(&pool).await?;
                    pool
                };
                (place, String::new(), Some(pool))
            }
            Kind::Clickhouse => (config.clickhouse.url.clone(), name, None),
            Kind::Live => {
                let redis = config.workspaces.get("ramaiah").context("workspace ramaiah")?;
                (redis.redis_url.reveal().to_owned(), String::new(), None)
            }
        };
        Ok(Self { kind, place, database, workspace, postgres })
    }

    fn audit(&self) -> Result<Audit> {
        Ok(Audit::new(&helix_clickhouse::Options {
            url: self.place.clone(),
            database: self.database.clone(),
            user: String::new(),
            password: String::new(),
        })?)
    }

    fn pool(&self) -> Result<&PgPool> {
        self.postgres.as_ref().context("a pool")
    }

    /// How far it is; nothing where it cannot say yet.
    pub async fn progress(&self, topic: &str) -> BTreeMap<i32, i64> {
        let asked: Result<BTreeMap<i32, i64>> = async {
            Ok(match self.kind {
                Kind::Postgres => {
                    let held = helix_postgres::progress(self.pool()?, topic).await?;
                    held.into_iter().map(|at| (at.partition, at.next_offset)).collect()
                }
                Kind::Automation => automation::progress(self.pool()?, topic).await?,
                Kind::Clickhouse => {
                    let held = self.audit()?.standings(topic).await?.positions;
                    held.into_iter().map(|(partition, at)| (partition, at.next_offset.0)).collect()
                }
                Kind::Live => stored_board(&self.place, &self.workspace, topic).await?.progress,
            })
        }
        .await;
        // Before the first instance has made its tables there is none to ask.
        asked.unwrap_or_default()
    }

    /// How much is still to be appended before the store is at rest.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn owed(&self) -> Result<i64> {
        match self.kind {
            Kind::Automation => automation::owed(self.pool()?).await,
            Kind::Postgres | Kind::Clickhouse | Kind::Live => Ok(0),
        }
    }

    /// Compares what is stored with the fold of what lies in the topic.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn judge(&self, topic: &str, log: &[Placed]) -> Result<Verdict> {
        match self.kind {
            Kind::Postgres => self.judge_postgres(topic, log).await,
            Kind::Clickhouse => self.judge_clickhouse(topic, log).await,
            Kind::Live => self.judge_live(topic, log).await,
            Kind::Automation => self.judge_automation(log).await,
        }
    }

    async fn judge_automation(&self, log: &[Placed]) -> Result<Verdict> {
        let decided = automation::judge(self.pool()?, &self.workspace, log).await?;
        let mut tally = Tally::default();
        decided.missing.iter().for_each(|what| tally.lost(what));
        decided.twice.iter().for_each(|what| tally.duplicated(what));
        decided.different.iter().for_each(|what| tally.differs(what));
        Ok(tally.verdict(decided.made > 0))
    }

    async fn judge_postgres(&self, topic: &str, log: &[Placed]) -> Result<Verdict> {
        let mut fold = WorkspaceFold::new(self.workspace.clone(), Settings::default());
        log.iter().for_each(|placed| fold.apply(&placed.fact, placed.offset));
        let folded = fold.rows();
        let mut snapshot = Snapshot::take(self.pool()?, topic, Some(&self.workspace)).await?;
        let root = snapshot.roots.get(self.workspace.as_str()).copied().unwrap_or_default();
        let stored = snapshot.rows.remove(&self.workspace).unwrap_or_default();
        let mut tally = Tally::default();
        tally.rows(&stored.agents, &folded.agents);
        tally.rows(&stored.intervals, &folded.intervals);
        tally.rows(&stored.calls, &folded.calls);
        tally.rows(&stored.legs, &folded.legs);
        tally.rows(&stored.missed_calls, &folded.missed_calls);
        tally.rows(&stored.queue_days, &folded.queue_days);
        let roots = root.root == folded.root() && usize::try_from(root.rows).ok() == Some(folded.len());
        if !roots {
            tally.first.get_or_insert_with(|| "the stored root is not the fold's".to_owned());
        }
        Ok(tally.verdict(roots))
    }

    async fn judge_clickhouse(&self, topic: &str, log: &[Placed]) -> Result<Verdict> {
        let audit = self.audit()?;
        let mut seen = BTreeSet::new();
        let mut tally = Tally::default();
        let mut partitions: BTreeMap<i32, Vec<&Placed>> = BTreeMap::new();
        log.iter().for_each(|placed| partitions.entry(placed.partition).or_default().push(placed));
        for (partition, placed) in partitions {
            let mut stored: BTreeMap<i64, Vec<_>> = BTreeMap::new();
            for row in audit.rows(topic, partition, (0, i64::MAX)).await? {
                stored.entry(row.offset).or_default().push(row.columns);
            }
            for one in placed {
                let rows = stored.remove(&one.offset).unwrap_or_default();
                let at = format!("partition {partition} offset {}", one.offset);
                // A fact that came before may have taken this arrival in.
                if seen.insert(one.fact.id) && rows.is_empty() {
                    tally.lost(&at);
                }
                // A block that another instance wrote again lies there twice until a merge, and must be the same.
                let meant = expected(&one.fact, topic, partition, one.offset);
                for (column, ..) in rows.iter().filter_map(|row| first_difference(row, &meant)) {
                    tally.differs(format!("{at}, column {column}"));
                }
            }
            stored.keys().for_each(|offset| tally.duplicated(format!("partition {partition} offset {offset}")));
        }
        let counted = usize::try_from(audit.counted(topic).await?)?;
        for _ in seen.len()..counted {
            tally.duplicated("a fact that is counted");
        }
        Ok(tally.verdict(counted == seen.len()))
    }

    async fn judge_live(&self, topic: &str, log: &[Placed]) -> Result<Verdict> {
        let stored = stored_board(&self.place, &self.workspace, topic).await?;
        let mut board = Board::new(self.workspace.clone(), Settings::default());
        log.iter().for_each(|placed| {
            board.apply(&placed.fact);
        });
        let folded: BTreeMap<&str, &str> = board.visible().iter().collect();
        let held: BTreeMap<&str, &str> = stored.visible.iter().collect();
        let mut tally = Tally::default();
        for path in folded.keys().chain(held.keys()).collect::<BTreeSet<_>>() {
            match (held.get(path), folded.get(path)) {
                (Some(held), Some(folded)) if held == folded => {}
                (Some(_), Some(_)) => tally.differs(path),
                (None, _) => tally.lost(path),
                (_, None) => tally.duplicated(path),
            }
        }
        Ok(tally.verdict(stored.root == board.root().to_string()))
    }
}

#[derive(Default)]
struct Tally {
    lost: usize,
    duplicated: usize,
    different: usize,
    first: Option<String>,
}

impl Tally {
    fn lost(&mut self, what: impl Display) {
        self.lost += 1;
        self.first.get_or_insert_with(|| format!("{what} is missing"));
    }

    fn duplicated(&mut self, what: impl Display) {
        self.duplicated += 1;
        self.first.get_or_insert_with(|| format!("{what} is one too many"));
    }

    fn differs(&mut self, what: impl Display) {
        self.different += 1;
        self.first.get_or_insert_with(|| format!("{what} differs"));
    }

    fn rows<R: Row + PartialEq>(&mut self, stored: &[R], folded: &[R]) {
        let key = |row: &R| format!("{}: {}", R::TABLE, row.key());
        let held: BTreeMap<String, &R> = stored.iter().map(|row| (key(row), row)).collect();
        let meant: BTreeMap<String, &R> = folded.iter().map(|row| (key(row), row)).collect();
        for (key, row) in &meant {
            match held.get(key) {
                None => self.lost(key),
                Some(held) if held != row => self.differs(key),
                Some(_) => {}
            }
        }
        held.keys().filter(|key| !meant.contains_key(*key)).for_each(|key| self.duplicated(key));
    }

    fn verdict(self, roots: bool) -> Verdict {
        Verdict {
            lost: self.lost,
            duplicated: self.duplicated,
            roots_equal: roots && self.different == 0,
            first: self.first,
        }
    }
}
