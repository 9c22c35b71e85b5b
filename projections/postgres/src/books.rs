//! The books (docs/rules.md): calls by queue, day and outcome, kept by differences in the transaction of the calls; and a
//! check that counts them afresh.

use std::collections::BTreeMap;

use helix_fold::books::{Books, Counts, QueueDayRow};
use helix_schemas::names::WorkspaceId;
use serde::Serialize;
use sqlx::{Executor as _, PgConnection, PgPool, Row as _};

use crate::{
    AllSettings, PostgresError,
    batch::Changes,
    calls::Touched,
    connect,
    generation::Generation,
    row_settings,
    rows::{self, Difference, to_date},
};

pub(crate) async fn apply(
    tx: &mut PgConnection,
    settings: &AllSettings,
    touched: &[Touched],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    let mut by_workspace: BTreeMap<&WorkspaceId, Books> = BTreeMap::new();
    for Touched { before, after, .. } in touched {
        let settings = settings.get(&after.workspace);
        let books = by_workspace.entry(&after.workspace).or_default();
        before.iter().for_each(|before| books.strike(before, settings));
        books.enter(after, settings);
    }
    let mut changed: Vec<QueueDayRow> = Vec::new();
    for (workspace, books) in by_workspace {
        changed.extend(books.rows(workspace));
    }
    if changed.is_empty() {
        return Ok(());
    }
    let held = load(tx, &changed).await?;
    let mut written = Difference::default();
    for (mut row, held) in changed.into_iter().zip(held) {
        held.iter().for_each(|held: &QueueDayRow| row.counts.add(&held.counts));
        let counted = (!row.counts.is_empty()).then_some(&row);
        written.row(settings, changes, held.as_ref(), counted);
    }
    written.write(tx).await
}

/// What is stored of these queues and days, in their order.
async fn load(tx: &mut PgConnection, of: &[QueueDayRow]) -> Result<Vec<Option<QueueDayRow>>, PostgresError> {
    let workspaces: Vec<&str> = of.iter().map(|row| row.workspace.as_str()).collect();
    let queues: Vec<&str> = of.iter().map(|row| row.place.queue.as_str()).collect();
    let days: Vec<chrono::NaiveDate> = of.iter().map(|row| to_date(row.place.day)).collect();
    let found = sqlx::query(
        "select asked.place, held.*
         from unnest($1::text[], $2::text[], $3::date[]) with ordinality as asked (workspace_id, queue, day, place)
         join queue_days as held
           on held.workspace_id = asked.workspace_id and held.queue = asked.queue and held.day = asked.day",
    )
    .bind(&workspaces)
    .bind(&queues)
    .bind(&days)
    .fetch_all(tx)
    .await?;
    let mut held: Vec<Option<QueueDayRow>> = vec![None; of.len()];
    for row in &found {
        if let Some(place) = held.get_mut(rows::place(row)?) {
            *place = Some(rows::queue_day_row(row)?);
        }
    }
    Ok(held)
}

/// What a check of the books found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BooksCheck {
    /// Queues and days that were counted afresh.
    pub queue_days: u64,
    /// Those that are not as counted, and those that do not balance.
    pub books: Vec<BooksDifference>,
    /// Calls that are missed and have no obligation, or the reverse.
    pub obligations: Vec<ObligationDifference>,
}

impl BooksCheck {
    /// How many things are wrong.
    #[must_use]
    pub const fn differences(&self) -> usize {
        self.books.len() + self.obligations.len()
    }
}

/// A queue and day whose counts are wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BooksDifference {
    /// The workspace.
    pub workspace: String,
    /// The queue.
    pub queue: String,
    /// The day, `YYYY-MM-DD`.
    pub day: String,
    /// offered, answered, missed, short abandons, in progress: as stored.
    pub stored: [i64; 5],
    /// The same, counted from the calls.
    pub counted: [i64; 5],
}

/// A call that is missed without an obligation, or an obligation without a missed call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObligationDifference {
    /// The workspace.
    pub workspace: String,
    /// The call.
    pub call: String,
    /// Whether the call is missed; else the obligation is too much.
    pub missed: bool,
}

/// Counts the books of the live generation afresh from the calls, in one snapshot, and compares; and looks for missed calls
/// without an obligation and the reverse. `days` bounds it to calls that started within so many days before now, which are
/// found by index: for a check that runs for ever. Gives no more than a hundred differences of each kind. `pool` comes from
/// [`crate::connect`].
///
/// # Errors
/// Where the database does not answer.
pub async fn check_books(
    pool: &PgPool,
    settings: &AllSettings,
    days: Option<u32>,
) -> Result<BooksCheck, PostgresError> {
    let mut tx = pool.begin().await?;
    tx.execute("set transaction isolation level repeatable read, read only").await?;
    if days.is_none() {
        tx.execute(connect::WHOLE_TABLES).await?;
    }
    let days = days.map(|days| i32::try_from(days).unwrap_or(i32::MAX).min(MOST_DAYS));
    let mut check = BooksCheck::default();
    let workspaces = workspaces(&mut tx).await?;
    let settings = &settings.under(&row_settings::stored(&mut tx, Generation::Live).await?);
    count(&mut tx, &workspaces, settings, days, &mut check).await?;
    obligations(&mut tx, &workspaces, days, &mut check).await?;
    tx.rollback().await?;
    Ok(check)
}

/// A thousand years: before every fact, and within the calendar.
const MOST_DAYS: i32 = 365_250;

/// Whose rows there are: from one to the next by the key, for there are few workspaces and many rows.
async fn workspaces(tx: &mut PgConnection) -> Result<Vec<String>, PostgresError> {
    let next = |table: &str, after: &str| format!("(select min(workspace_id) from {table} {after})");
    let least = |after: &str| {
        let of_each = ["calls", "missed_calls", "queue_days"].map(|table| next(table, after));
        format!("least({})", of_each.join(", "))
    };
    let statement = format!(
        "with recursive known (workspace_id) as (
             select {}
             union all
             select {} from known where known.workspace_id is not null
         )
         select workspace_id from known where workspace_id is not null",
        least(""),
        least("where workspace_id > known.workspace_id")
    );
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(tx).await?)
}

const COUNTS: [&str; 5] = ["offered", "answered", "missed", "short_abandoned", "in_progress"];

async fn count(
    tx: &mut PgConnection,
    workspaces: &[String],
    settings: &AllSettings,
    days: Option<i32>,
    check: &mut BooksCheck,
) -> Result<(), PostgresError> {
    let zones: Vec<&str> = workspaces.iter().map(|workspace| zone_of(settings, workspace)).collect();
    let found = sqlx::query(
        "with counted as (
             select workspace_id, coalesce(skill, '') as queue, (started_at at time zone asked.zone)::date as day,
                    count(*) as offered,
                    count(*) filter (where outcome = 'answered') as answered,
                    count(*) filter (where outcome = 'missed') as missed,
                    count(*) filter (where outcome = 'short_abandon') as short_abandoned,
                    count(*) filter (where outcome = 'in_progress') as in_progress
             from unnest($1::text[], $2::text[]) as asked (workspace_id, zone) join calls using (workspace_id)
             where direction is distinct from 'outbound'
               -- A day more than is compared, so that the first of them is whole in every zone.
               and ($3::integer is null or started_at >= now() - make_interval(days => $3 + 2))
             group by 1, 2, 3
         )
         select workspace_id, queue, to_char(day, 'YYYY-MM-DD') as day_text,
                array[stored.offered, stored.answered, stored.missed, stored.short_abandoned, stored.in_progress] as stored,
                array[counted.offered, counted.answered, counted.missed, counted.short_abandoned, counted.in_progress] as counted
         from (select * from queue_days
               where $3::integer is null or day >= (now() - make_interval(days => $3))::date) as stored
         full join (select * from counted
                    where $3::integer is null or day >= (now() - make_interval(days => $3))::date) as counted
           using (workspace_id, queue, day)
         order by workspace_id, queue, day",
    )
    .bind(workspaces)
    .bind(&zones)
    .bind(days)
    .fetch_all(tx)
    .await?;
    for row in &found {
        check.queue_days += 1;
        let of = |column: &str| -> Result<[i64; COUNTS.len()], PostgresError> {
            let counts: Vec<Option<i64>> = row.try_get(column)?;
            let mut all = [0; COUNTS.len()];
            all.iter_mut().zip(counts).for_each(|(place, count)| *place = count.unwrap_or_default());
            Ok(all)
        };
        let (stored, counted) = (of("stored")?, of("counted")?);
        let [offered, answered, missed, short_abandoned, in_progress] = stored;
        let balances = Counts { offered, answered, missed, short_abandoned, in_progress }.balance();
        if (stored != counted || !balances) && check.books.len() < MOST {
            check.books.push(BooksDifference {
                workspace: row.try_get("workspace_id")?,
                queue: row.try_get("queue")?,
                day: row.try_get("day_text")?,
                stored,
                counted,
            });
        }
    }
    Ok(())
}

/// Differences of one kind that are told.
const MOST: usize = 100;

fn zone_of<'a>(settings: &'a AllSettings, workspace: &str) -> &'a str {
    settings.0.get(workspace).map_or_else(AllSettings::default_zone, |settings| settings.zone.name())
}

async fn obligations(
    tx: &mut PgConnection,
    workspaces: &[String],
    days: Option<i32>,
    check: &mut BooksCheck,
) -> Result<(), PostgresError> {
    let found = sqlx::query(
        "select workspace_id, call_id, obligation.missed_at is null as is_missed
         from unnest($1::text[]) as asked (workspace_id) join calls as missed using (workspace_id)
         left join missed_calls as obligation using (workspace_id, call_id)
         where direction is distinct from 'outbound' and outcome in ('missed', 'short_abandon')
           and ($2::integer is null or started_at >= now() - make_interval(days => $2))
           and obligation.missed_at is distinct from missed.ended_at
         union all
         select workspace_id, call_id, false
         from missed_calls as obligation left join calls as of_call using (workspace_id, call_id)
         where ($2::integer is null or missed_at >= now() - make_interval(days => $2))
           and (of_call.outcome is null or of_call.direction = 'outbound'
                or of_call.outcome not in ('missed', 'short_abandon'))
         order by 1, 2 limit $3",
    )
    .bind(workspaces)
    .bind(days)
    .bind(i64::try_from(MOST).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await?;
    for row in &found {
        check.obligations.push(ObligationDifference {
            workspace: row.try_get("workspace_id")?,
            call: row.try_get("call_id")?,
            missed: row.try_get("is_missed")?,
        });
    }
    Ok(())
}
