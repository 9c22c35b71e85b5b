//! Several hospitals share one installation and never touch each other.

use anyhow::ensure;
use helix_tests::stack::{Stack, answer};
use sqlx::Connection;

use crate::Outcome;

pub(crate) async fn a_token_of_another_workspace_is_refused(stack: &Stack) -> Outcome {
    let url = format!("{}/api/supervisor/board", stack.env("HELIX_SIDECAR_RAMAIAH_URL"));
    let (status, problem) = answer(stack.http.get(&url)).await?;
    ensure!(status == 401 && problem["code"].is_string(), "without a token: {status} {problem}");
    let (status, _) = answer(stack.http.get(&url).bearer_auth("not.a.token")).await?;
    ensure!(status == 401, "a broken token: {status}");
    for role in ["ADMIN", "SUPERVISOR", "ANALYST", "AUDITOR", "AGENT"] {
        let other = stack.env(&format!("HELIX_TOKEN_GLOBAL_{role}"));
        let (status, problem) = answer(stack.http.get(&url).bearer_auth(other)).await?;
        ensure!(status == 403, "global's {role} at ramaiah: {status} {problem}");
    }
    // Caller numbers are for those who may see them.
    let (status, board) = answer(stack.http.get(&url).bearer_auth(stack.env("HELIX_TOKEN_RAMAIAH_ANALYST"))).await?;
    ensure!(status == 200 && !board.to_string().contains("919000000077"), "{status} {board}");
    Ok(())
}

pub(crate) async fn the_database_shows_a_role_only_its_workspace(stack: &Stack) -> Outcome {
    let mut tx = stack.postgres.begin().await?;
    sqlx::query("create role e2e_reader nologin in role helix_reader").execute(&mut *tx).await?;
    sqlx::query("set local role e2e_reader").execute(&mut *tx).await?;
    let count = "select (select count(*) from read.calls) + (select count(*) from read.agents)
                      + (select count(*) from read.agent_intervals) + (select count(*) from read.missed_calls)";
    let unnamed: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await?;
    ensure!(unnamed == 0, "without a workspace {unnamed} rows are seen");
    sqlx::query("set local helix.workspace = 'global'").execute(&mut *tx).await?;
    let foreign: i64 = sqlx::query_scalar("select count(*) from read.calls where workspace_id <> 'global'")
        .fetch_one(&mut *tx)
        .await?;
    ensure!(foreign == 0, "as global, {foreign} calls of others are seen");
    sqlx::query("set local helix.workspace = 'ramaiah'").execute(&mut *tx).await?;
    let own: i64 = sqlx::query_scalar("select count(*) from read.calls").fetch_one(&mut *tx).await?;
    ensure!(own > 0, "as ramaiah, its own calls are not seen");
    // The projector's own role owns the tables and is bound all the same: no superuser, no bypass.
    let bypass: bool = sqlx::query_scalar("select rolsuper or rolbypassrls from pg_roles where rolname = 'helix'")
        .fetch_one(&mut *tx)
        .await?;
    ensure!(!bypass, "the role helix bypasses row-level security");
    tx.rollback().await?;

    // A hospital's own role sees its rows alone, whatever it says it is.
    let url = std::fs::read_to_string(stack.home().join("secrets/postgres-ramaiah.url"))?;
    let mut own = sqlx::PgConnection::connect(url.trim()).await?;
    for pretended in ["global", "ramaiah", ""] {
        sqlx::query("select set_config('helix.workspace', $1, false)").bind(pretended).execute(&mut own).await?;
        for table in ["agents", "agent_intervals", "agent_sessions", "calls", "call_legs", "missed_calls", "queue_days"]
        {
            let seen = format!("select array_agg(distinct workspace_id) from read.{table}");
            let seen: Option<Vec<String>> = sqlx::query_scalar(sqlx::AssertSqlSafe(seen)).fetch_one(&mut own).await?;
            let seen = seen.unwrap_or_default();
            ensure!(seen.iter().all(|workspace| workspace == "ramaiah"), "as {pretended}, {table} shows {seen:?}");
            ensure!(table != "agents" || !seen.is_empty(), "its own agents are not seen");
        }
    }
    let refused = sqlx::query("delete from read.agents").execute(&mut own).await;
    ensure!(refused.is_err(), "a reader may write");
    Ok(())
}
