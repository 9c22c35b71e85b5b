//! Nothing lost, nothing twice: kills in the middle of a day, and every store against the folded log.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use helix_tests::{
    cli,
    stack::{Stack, until},
};
use serde_json::{Value, json};

use crate::Outcome;

/// A short but busy part of a day, played in a minute.
const DAY: [&str; 13] = [
    "simulate",
    "--agents",
    "8",
    "--calls-per-hour",
    "240",
    "--hours",
    "4",
    "--speed",
    "240",
    "--seed",
    "7",
    "--start",
    "2026-05-04T08:00:00",
];

/// Waits until every projector has caught up with the log's end.
pub(crate) async fn caught_up(stack: &Stack) -> Result<()> {
    let ends = || -> Result<Value> {
        Ok(serde_json::from_str(&cli::succeed(&stack.config(), &["projection", "list", "--json"])?)?)
    };
    let mut seen = String::new();
    until(Duration::from_secs(90), "the projectors have caught up", async || {
        let standings = ends()?;
        let standings = standings.as_array().context("standings")?;
        let postgres = standings.iter().all(|one| one["lag"] == 0);
        let held = stack.clickhouse_progress().await?;
        let clickhouse = standings.iter().all(|one| {
            let end = one["high_water"].as_i64().unwrap_or(0);
            end == 0 || one["partition"].as_i64().and_then(|partition| held.get(&partition)) == Some(&end)
        });
        let mut live = true;
        for workspace in ["ramaiah", "global"] {
            live &= stack.board(workspace).await?["watermark"]["lagFacts"] == 0;
        }
        seen = format!("postgres {postgres}, clickhouse {clickhouse}, live {live}");
        Ok(postgres && clickhouse && live)
    })
    .await
    .with_context(|| seen.clone())
}

async fn rows(stack: &Stack) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for table in ["agents", "agent_intervals", "calls", "missed_calls"] {
        let text: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select string_agg(row::text, e'\\n' order by row::text collate \"C\") from read.{table} as row"
        )))
        .fetch_one(&stack.postgres)
        .await?;
        all.push(format!("{table}\n{}", text.unwrap_or_default()));
    }
    Ok(all)
}

pub(crate) async fn kills_in_the_middle_of_a_day_leave_the_rows_of_an_undisturbed_run(stack: &Stack) -> Outcome {
    let mut day = Command::new(cli::binary()?)
        .arg("--config")
        .arg(stack.config())
        .args(DAY)
        .arg("--json")
        .stdout(Stdio::null())
        .spawn()?;
    for component in ["project-postgres", "project-live", "project-clickhouse", "project-postgres", "ingest"] {
        ensure!(day.try_wait()?.is_none(), "the day was over before {component} was killed: make it longer");
        stack.kill(component).await?;
    }
    let ended = day.wait()?;
    ensure!(ended.success(), "the simulated day ended with {ended}");
    caught_up(stack).await?;
    let disturbed = rows(stack).await?;
    cli::succeed(&stack.config(), &["audit", "verify"])?;
    // The undisturbed run: the same log folded once more into empty tables, nobody killed.
    cli::succeed(&stack.config(), &["projection", "rebuild", "postgres"])?;
    caught_up(stack).await?;
    ensure!(rows(stack).await? == disturbed, "a rebuild gives other rows than the disturbed run");
    let calls: i64 = sqlx::query_scalar("select count(*) from read.calls where started_at >= '2026-05-04'")
        .fetch_one(&stack.postgres)
        .await?;
    ensure!(calls > 500, "only {calls} calls: the day was too quiet to prove anything");
    Ok(())
}

pub(crate) async fn postgres_and_clickhouse_agree_on_every_shared_number(stack: &Stack) -> Outcome {
    caught_up(stack).await?;
    let seconds = |column: &str| format!("coalesce({column}::text, '-')");
    let at = |column: &str| format!("coalesce((extract(epoch from {column}) * 1000)::bigint::text, '-')");
    let postgres_calls = format!(
        "select concat_ws('|', workspace_id, call_id, coalesce(direction, '-'), outcome, coalesce(caller, '-'), coalesce(did, '-'),
            coalesce(skill, '-'), coalesce(agent_id, '-'), array_to_string(agent_ids, ','), {}, {}, {}, {}, {}, {}, {}, coalesce(disposition, '-'),
            coalesce(hangup_by, '-'))
         from read.calls",
        at("started_at"), at("answered_at"), at("ended_at"), seconds("wait_seconds"), seconds("talk_seconds"),
        seconds("hold_seconds"), seconds("wrap_up_seconds"),
    );
    let clickhouse_at = |column: &str| format!("ifNull(toString(toUnixTimestamp64Milli({column})), '-')");
    let number = |column: &str| format!("ifNull(toString({column}), '-')");
    let clickhouse_calls = format!(
        "select concat(workspace_id, '|', call_id, '|', ifNull(direction, '-'), '|', outcome, '|', ifNull(caller, '-'), '|', ifNull(did, '-'),
            '|', ifNull(skill, '-'), '|', ifNull(agent_id, '-'), '|', arrayStringConcat(agent_ids, ','), '|', {}, '|', {}, '|', {}, '|', {}, '|', {},
            '|', {}, '|', {}, '|', ifNull(disposition, '-'), '|', ifNull(hangup_by, '-'))
         from helix.calls format TSVRaw",
        clickhouse_at("started_at"), clickhouse_at("answered_at"), clickhouse_at("ended_at"), number("wait_seconds"),
        number("talk_seconds"), number("hold_seconds"), number("wrap_up_seconds"),
    );
    compare(stack, "calls", postgres_calls, &clickhouse_calls).await?;

    let postgres_intervals = format!(
        "select concat_ws('|', workspace_id, agent_id, state, coalesce(reason, '-'), {}, {}, coalesce(call_id, '-')) from read.agent_intervals",
        at("started_at"),
        at("ended_at"),
    );
    let clickhouse_intervals = format!(
        "select concat(workspace_id, '|', agent_id, '|', state, '|', ifNull(reason, '-'), '|', {}, '|', {}, '|', ifNull(call_id, '-'))
         from helix.agent_intervals format TSVRaw",
        clickhouse_at("started_at"), clickhouse_at("ended_at"),
    );
    compare(stack, "agent_intervals", postgres_intervals, &clickhouse_intervals).await
}

async fn compare(stack: &Stack, what: &str, postgres: String, clickhouse: &str) -> Outcome {
    let mut one: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(postgres)).fetch_all(&stack.postgres).await?;
    let mut other: Vec<String> = stack.clickhouse(clickhouse).await?.lines().map(str::to_owned).collect();
    one.sort();
    other.sort();
    if one == other {
        ensure!(one.len() > 100, "{what}: only {} rows were compared", one.len());
        return Ok(());
    }
    let only_one: Vec<&String> = one.iter().filter(|row| other.binary_search(row).is_err()).take(3).collect();
    let only_other: Vec<&String> = other.iter().filter(|row| one.binary_search(row).is_err()).take(3).collect();
    bail!(
        "{what} differ ({} and {} rows)\n only postgres: {only_one:#?}\n only clickhouse: {only_other:#?}",
        one.len(),
        other.len()
    )
}

pub(crate) async fn the_live_board_is_the_folded_log(stack: &Stack) -> Outcome {
    caught_up(stack).await?;
    for workspace in ["ramaiah", "global"] {
        let shown = stack.board(workspace).await?;
        let folded: Value =
            serde_json::from_str(&cli::succeed(&stack.config(), &["replay", "board", "--workspace", workspace])?)?;
        for part in ["agents", "calls", "waiting", "today", "openMissedCalls", "root"] {
            ensure!(
                shown[part] == folded[part],
                "{workspace}.{part}\n shown:  {}\n folded: {}",
                shown[part],
                folded[part]
            );
        }
        ensure!(shown["today"]["offered"].as_i64().unwrap_or(0) > 100, "{workspace}: {}", shown["today"]);
        let today = &shown["today"];
        let sum = ["answered", "missed", "shortAbandoned", "inProgress"]
            .iter()
            .filter_map(|part| today[*part].as_i64())
            .sum::<i64>();
        ensure!(today["offered"] == json!(sum), "the books do not balance: {today}");
    }
    // A past moment, by the CLI: before the first agent of that day signed in, nobody of it was on the board.
    let early = cli::succeed(
        &stack.config(),
        &["replay", "board", "--workspace", "global", "--as-of", "2026-01-01T00:00:00Z"],
    )?;
    let early: Value = serde_json::from_str(&early)?;
    ensure!(early["agents"] == json!([]) && early["today"]["offered"] == 0, "{early}");
    Ok(())
}

pub(crate) async fn a_changed_row_is_found_and_a_rebuild_mends_it(stack: &Stack) -> Outcome {
    caught_up(stack).await?;
    let changed = "update read.calls set talk_seconds = talk_seconds + 1 where (workspace_id, call_id) in
        (select workspace_id, call_id from read.calls where talk_seconds is not null limit 1)";
    let touched = sqlx::query(changed).execute(&stack.postgres).await?.rows_affected();
    ensure!(touched == 1);
    let output = cli::run(&stack.config(), &["audit", "verify", "--json"])?;
    ensure!(output.status.code() == Some(1), "verify ended with {}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report.to_string().contains("\"column\":\"talk_seconds\""), "{report}");
    cli::succeed(&stack.config(), &["projection", "rebuild", "postgres"])?;
    cli::succeed(&stack.config(), &["audit", "verify"])?;
    Ok(())
}

pub(crate) async fn an_export_can_be_checked_by_its_manifest(stack: &Stack) -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("calls.jsonl");
    let name = file.display().to_string();
    cli::succeed(
        &stack.config(),
        &["replay", "export", "--workspace", "global", "--kind", "CallAnswered", "--out", &name],
    )?;
    let lines = std::fs::read_to_string(&file)?;
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(format!("{name}.manifest.json"))?)?;
    ensure!(manifest["facts"].as_u64() == Some(u64::try_from(lines.lines().count())?), "{manifest}");
    ensure!(lines.lines().all(|line| line.contains("\"workspace\":\"global\"")), "a fact of another workspace");
    let sum = Command::new("sha256sum").arg(&file).output()?;
    let sum = String::from_utf8_lossy(&sum.stdout);
    ensure!(manifest["sha256"].as_str().is_some_and(|told| sum.starts_with(told)), "{manifest} {sum}");
    Ok(())
}
