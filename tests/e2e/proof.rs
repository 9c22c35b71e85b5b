//! Nothing lost, nothing twice: kills in the middle of a day, and every store against the folded log.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use helix_tests::{
    cli,
    stack::{PATIENCE, Stack, until},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, Producer, ThreadedProducer},
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
    until(PATIENCE * 2, "the projectors have caught up", async || {
        let standings = ends()?;
        let standings = standings.as_array().context("standings")?;
        let standby = |one: &&Value| one["projection"].as_str().is_some_and(|name| name.ends_with(".standby"));
        let standings = standings.iter().filter(|one| !standby(one));
        let behind: Vec<&Value> = standings.filter(|one| one["lag"] != 0).collect();
        seen = format!("behind: {behind:?}");
        Ok(behind.is_empty())
    })
    .await
    .with_context(|| seen.clone())
}

/// Compares two readings of the log, both of its end: again where a decision of automation came in between.
async fn while_still(stack: &Stack, mut compare: impl AsyncFnMut() -> Outcome) -> Outcome {
    const TRIES: usize = 8;
    for _ in 1..TRIES {
        caught_up(stack).await?;
        let before = log_end(stack)?;
        let outcome = compare().await;
        if outcome.is_ok() || log_end(stack)? == before {
            return outcome;
        }
    }
    caught_up(stack).await?;
    compare().await
}

fn log_end(stack: &Stack) -> Result<i64> {
    let told = cli::succeed(&stack.config(), &["projection", "list", "--json"])?;
    let standings: Vec<Value> = serde_json::from_str(&told)?;
    let of_postgres = standings.iter().filter(|one| one["projection"] == "postgres");
    Ok(of_postgres.filter_map(|one| one["high_water"].as_i64()).sum())
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
    // Every projection that was killed: rows, facts and boards are what the log means.
    cli::succeed(&stack.config(), &["audit", "verify"])?;
    // The undisturbed run: the same log applied once more to empty tables beside the live ones, nobody killed.
    cli::succeed(&stack.config(), &["projection", "rebuild"])?;
    cli::succeed(&stack.config(), &["projection", "diff"])?;
    cli::succeed(&stack.config(), &["projection", "discard"])?;
    let calls: i64 = sqlx::query_scalar("select count(*) from read.calls where started_at >= '2026-05-04'")
        .fetch_one(&stack.postgres)
        .await?;
    ensure!(calls > 500, "only {calls} calls: the day was too quiet to prove anything");
    Ok(())
}

pub(crate) async fn postgres_and_clickhouse_agree_on_every_shared_number(stack: &Stack) -> Outcome {
    while_still(stack, async || shared_numbers(stack).await).await
}

async fn shared_numbers(stack: &Stack) -> Outcome {
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
    while_still(stack, async || folded_boards(stack).await).await
}

async fn folded_boards(stack: &Stack) -> Outcome {
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
        (select workspace_id, call_id from read.calls where talk_seconds is not null and workspace_id = 'global' limit 1)
        returning call_id";
    let call: String = sqlx::query_scalar(changed).fetch_one(&stack.postgres).await?;
    let config = stack.config();
    let verify = ["audit", "verify", "--projection", "postgres", "--json"];
    let found = |expected: i32| -> Result<Value> {
        let output = cli::run(&config, &verify)?;
        ensure!(output.status.code() == Some(expected), "verify ended with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let report = found(1)?;
    let first = &report["firstDifference"];
    ensure!(first["projection"] == "postgres" && first["workspace"] == "global", "{report}");
    ensure!(first["difference"]["key"] == call && first["difference"]["column"] == "talk_seconds", "{report}");

    // Beside the live tables, compared with them, with the facts behind the row that differs.
    cli::succeed(&config, &["projection", "rebuild", "postgres"])?;
    let output = cli::run(&config, &["projection", "diff", "--json"])?;
    ensure!(output.status.code() == Some(1), "diff ended with {}", output.status);
    let diff: Value = serde_json::from_slice(&output.stdout)?;
    let rows = diff["rows"].as_array().context("rows")?;
    ensure!(rows.len() == 1 && rows[0]["difference"]["columns"] == json!(["talk_seconds"]), "{diff}");
    ensure!(rows[0]["facts"].as_array().is_some_and(|facts| facts.len() > 2), "{diff}");
    found(1)?;

    // Exchanged, back again, and exchanged once more.
    for (verb, expected) in [("cut-over", 0), ("cut-back", 1), ("cut-back", 0)] {
        cli::succeed(&config, &["projection", verb])?;
        found(expected)?;
    }
    cli::succeed(&config, &["projection", "discard"])?;

    // One hospital's rows alone.
    sqlx::query("delete from read.agent_intervals where workspace_id = 'ramaiah'").execute(&stack.postgres).await?;
    found(1)?;
    cli::succeed(&config, &["projection", "rebuild", "--workspace", "ramaiah", "--cut-over"])?;
    found(0)?;
    cli::succeed(&config, &["projection", "discard"])?;
    let usage = cli::run(&config, &["projection", "cut-over"])?;
    ensure!(usage.status.code() == Some(2), "a cut-over without a standby ended with {}", usage.status);
    Ok(())
}

/// Traffic for longer than it is needed; it is ended then.
const TRAFFIC: [&str; 13] = [
    "simulate",
    "--agents",
    "8",
    "--calls-per-hour",
    "240",
    "--hours",
    "10",
    "--speed",
    "100",
    "--seed",
    "8",
    "--start",
    "2026-05-06T08:00:00",
];

pub(crate) async fn clickhouses_facts_are_rebuilt_under_traffic_exchanged_and_brought_back(stack: &Stack) -> Outcome {
    caught_up(stack).await?;
    let config = stack.config();
    let no_standby = cli::run(&config, &["projection", "diff", "clickhouse"])?;
    ensure!(no_standby.status.code() == Some(2), "a diff without a standby ended with {}", no_standby.status);
    let flipped = stack
        .clickhouse(
            "select toString(fact_id) from helix.facts where workspace_id = 'global' and disposition != '' limit 1",
        )
        .await?;
    let flip = format!(
        "alter table helix.facts update disposition = 'tampered' where fact_id = '{}' settings mutations_sync = 2",
        flipped.trim()
    );
    stack.clickhouse(&flip).await?;
    let mut traffic =
        Command::new(cli::binary()?).arg("--config").arg(&config).args(TRAFFIC).stdout(Stdio::null()).spawn()?;
    let exchanged = exchanged_and_brought_back(stack, flipped.trim()).await;
    let over = traffic.try_wait()?.is_some();
    traffic.kill()?;
    traffic.wait()?;
    exchanged?;
    ensure!(!over, "the traffic ended before the exchanges: make it longer");
    caught_up(stack).await?;
    clickhouse_verified(stack, 0)?;
    cli::succeed(&config, &["projection", "discard", "clickhouse"])?;

    // One hospital's facts alone.
    stack.clickhouse("delete from helix.facts where workspace_id = 'ramaiah' and kind = 'CallEnded'").await?;
    clickhouse_verified(stack, 1)?;
    cli::succeed(&config, &["projection", "rebuild", "clickhouse", "--workspace", "ramaiah", "--cut-over"])?;
    caught_up(stack).await?;
    clickhouse_verified(stack, 0)?;
    cli::succeed(&config, &["projection", "discard", "clickhouse"])?;
    Ok(())
}

fn clickhouse_verified(stack: &Stack, expected: i32) -> Outcome {
    let output = cli::run(&stack.config(), &["audit", "verify", "--projection", "clickhouse", "--json"])?;
    ensure!(output.status.code() == Some(expected), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// While facts come.
async fn exchanged_and_brought_back(stack: &Stack, flipped: &str) -> Outcome {
    let config = stack.config();
    let before = stack.clickhouse_progress().await?.values().sum::<i64>();
    until(PATIENCE, "there is traffic", async || Ok(stack.clickhouse_progress().await?.values().sum::<i64>() > before))
        .await?;

    // Beside the live table, compared with it, with the fact behind the row that differs.
    cli::succeed(&config, &["projection", "rebuild", "clickhouse"])?;
    let output = cli::run(&config, &["projection", "diff", "clickhouse", "--json"])?;
    ensure!(output.status.code() == Some(1), "diff ended with {}", output.status);
    let diff: Value = serde_json::from_slice(&output.stdout)?;
    let rows = diff["rows"].as_array().context("rows")?;
    ensure!(rows.len() == 1 && rows[0]["difference"]["columns"] == json!(["disposition"]), "{diff}");
    ensure!(rows[0]["facts"][0]["id"] == flipped && rows[0]["facts"][0]["kind"] == "CallSummarised", "{diff}");
    let listed = cli::succeed(&config, &["projection", "list"])?;
    ensure!(listed.contains("clickhouse.standby"), "{listed}");

    // Somebody else is at it.
    let mut other = stack.postgres.acquire().await?;
    let lock = "select pg_advisory_lock(hashtextextended('helix.generations.clickhouse', 0))";
    sqlx::query(lock).execute(&mut *other).await?;
    let refused = cli::run(&config, &["projection", "cut-over", "clickhouse"])?;
    ensure!(refused.status.code() == Some(2), "a second operator's cut-over ended with {}", refused.status);
    sqlx::query("select pg_advisory_unlock_all()").execute(&mut *other).await?;

    // Exchanged, back again, and exchanged once more, while facts come.
    for (verb, expected) in [("cut-over", 0), ("cut-back", 1), ("cut-back", 0)] {
        cli::succeed(&config, &["projection", verb, "clickhouse"])?;
        clickhouse_verified(stack, expected)?;
    }
    Ok(())
}

/// A record that is no fact, under a key of ramaiah's.
fn append_poison(stack: &Stack, value: &[u8]) -> Result<()> {
    let brokers = stack.env("HELIX_KAFKA_BROKERS");
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", brokers).set("partitioner", "murmur2_random").create()?;
    let record = BaseRecord::to("telephony.facts").key(POISONED).payload(value);
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(producer.flush(PATIENCE)?)
}

const POISONED: &str = "ramaiah/e2e.poisoned";

pub(crate) async fn a_poison_fact_parks_its_key_and_nothing_else(stack: &Stack) -> Outcome {
    append_poison(stack, b"no fact of ours")?;
    // Framed, of a schema that nobody has registered: no registry that is away, but a record that nobody can read.
    append_poison(stack, &[0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3])?;
    caught_up(stack).await?;
    let config = stack.config();
    let parked: Value = serde_json::from_str(&cli::succeed(&config, &["projection", "parked", "--json"])?)?;
    let parked = parked.as_array().context("a list")?;
    for projection in ["postgres", "clickhouse", "live:ramaiah"] {
        let of: Vec<&Value> = parked.iter().filter(|one| one["projection"] == projection).collect();
        ensure!(of.len() == 2 && of.iter().all(|one| one["key"] == POISONED), "{projection}: {parked:?}");
        let behind = of[1]["cause"].as_str().is_some_and(|cause| cause.starts_with("behind offset"));
        ensure!(behind && of[0]["cause"] != of[1]["cause"], "{projection}: {of:?}");
    }
    // All others flow, and every projection is what the log means without the key.
    let at = "2026-05-05 09:00:00";
    let event = json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {"action": "login",
        "agentUniqeId": 100_007, "agentId": "agent.one", "agentMode": "INBOUND", "eventTime": at}});
    stack.event(&event).await?;
    caught_up(stack).await?;
    cli::succeed(&config, &["audit", "verify"])?;
    // What still cannot be applied stays where it is.
    for dry_run in [&["--dry-run"][..], &[]] {
        let words = [&["projection", "unpark", "--key", POISONED], dry_run].concat();
        let refused = cli::run(&config, &words)?;
        ensure!(refused.status.code() == Some(1), "{words:?} ended with {}", refused.status);
    }
    let usage = cli::run(&config, &["projection", "unpark", "--key", "ramaiah/nobody"])?;
    ensure!(usage.status.code() == Some(2), "unparking nothing ended with {}", usage.status);
    Ok(())
}

pub(crate) async fn a_paused_projection_rests_and_goes_on(stack: &Stack) -> Outcome {
    caught_up(stack).await?;
    let config = stack.config();
    cli::succeed(&config, &["projection", "pause", "postgres"])?;
    let paused = || -> Result<bool> {
        let told = cli::succeed(&config, &["projection", "list", "--json"])?;
        let standings: Vec<Value> = serde_json::from_str(&told)?;
        Ok(standings.iter().filter(|one| one["projection"] == "postgres").all(|one| one["paused"] == true))
    };
    ensure!(paused()?);
    until(PATIENCE, "the projector rests", async || {
        let metrics = stack.metrics("project-postgres").await?;
        Ok(metrics.lines().any(|line| line.starts_with("helix_projector_paused") && line.ends_with(" 1")))
    })
    .await?;
    let before = postgres_progress(stack).await?;
    let at = "2026-05-05 09:05:00";
    let event = json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {"action": "release",
        "agentUniqeId": 100_007, "agentId": "agent.one", "agentMode": "INBOUND", "eventTime": at}});
    let (status, _) = stack
        .post("/api/supervisor/agent-event", stack.env("HELIX_INGEST_KEY"), "application/json", event.to_string())
        .await?;
    ensure!(status == 202);
    // ClickHouse has it; Postgres, which is as fast, has not moved.
    until(PATIENCE, "clickhouse has the fact", async || {
        Ok(stack.clickhouse_progress().await?.values().sum::<i64>() > before)
    })
    .await?;
    ensure!(postgres_progress(stack).await? == before, "a paused projection moved");
    cli::succeed(&config, &["projection", "resume", "postgres"])?;
    caught_up(stack).await?;
    ensure!(postgres_progress(stack).await? > before && !paused()?);
    Ok(())
}

async fn postgres_progress(stack: &Stack) -> Result<i64> {
    let sum = "select sum(next_offset)::bigint from helix.projection_progress where projection = 'postgres'";
    Ok(sqlx::query_scalar(sum).fetch_one(&stack.postgres).await?)
}

pub(crate) async fn clickhouses_projection_rests_and_goes_on_too(stack: &Stack) -> Outcome {
    caught_up(stack).await?;
    let config = stack.config();
    cli::succeed(&config, &["projection", "pause", "clickhouse"])?;
    let told = cli::succeed(&config, &["projection", "list", "--json"])?;
    let standings: Vec<Value> = serde_json::from_str(&told)?;
    let paused = |one: &Value| one["projection"] == "clickhouse" && one["paused"] == true;
    ensure!(standings.iter().any(paused), "{told}");
    until(PATIENCE, "the projector rests", async || {
        let metrics = stack.metrics("project-clickhouse").await?;
        Ok(metrics.lines().any(|line| line.starts_with("helix_projector_paused") && line.ends_with(" 1")))
    })
    .await?;
    let before = (postgres_progress(stack).await?, stack.clickhouse_progress().await?);
    let at = "2026-05-05 09:06:00";
    let event = json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {"action": "release",
        "agentUniqeId": 100_007, "agentId": "agent.one", "agentMode": "INBOUND", "eventTime": at}});
    let (status, _) = stack
        .post("/api/supervisor/agent-event", stack.env("HELIX_INGEST_KEY"), "application/json", event.to_string())
        .await?;
    ensure!(status == 202);
    until(PATIENCE, "postgres has the fact", async || Ok(postgres_progress(stack).await? > before.0)).await?;
    ensure!(stack.clickhouse_progress().await? == before.1, "a paused projection moved");
    cli::succeed(&config, &["projection", "resume", "clickhouse"])?;
    caught_up(stack).await?;
    ensure!(stack.clickhouse_progress().await? != before.1);
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
