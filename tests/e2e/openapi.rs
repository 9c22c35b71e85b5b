//! The ingest's OpenAPI document, tried by schemathesis on the running ingest: valid and broken requests of every
//! operation, each answer held to the document. How is in tests/openapi/schemathesis.toml.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail, ensure};
use helix_tests::{cli, stack::Stack};
use serde_json::{Value, json};

use crate::Outcome;

/// The same cases in every run. Printed by schemathesis too.
const SEED: &str = "20260324";
/// Ten times what it takes on a machine of two cores.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn the_document_of_the_ingest_is_true(stack: &Stack) -> Outcome {
    let target = cli::binary()?.ancestors().nth(2).context("the target folder")?.to_owned();
    let tool = target.join("tools/schemathesis/bin/schemathesis");
    ensure!(tool.is_file(), "{} is missing: `scripts/install --tests` installs it", tool.display());
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi");
    let folder = tempfile::tempdir()?;
    let tally = folder.path().join("tally.json");
    let mut command = tokio::process::Command::new(tool);
    command
        .arg("--config-file")
        .arg(settings.join("schemathesis.toml"))
        .args(["--no-color", "run", "--seed", SEED])
        .arg(format!("{}/openapi.json", stack.env("HELIX_INGEST_URL")))
        .env("HELIX_OPENAPI_HOOKS", settings.join("hooks.py"))
        .env("HELIX_OPENAPI_TALLY", &tally)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for key in ["HELIX_INGEST_KEY", "HELIX_WEBHOOK_KEY_RAMAIAH", "HELIX_REGISTER_KEY_RAMAIAH"] {
        command.env(key, stack.env(key));
    }
    println!("schemathesis, seed {SEED}");
    let output = tokio::time::timeout(PATIENCE, command.output()).await.context("schemathesis did not end")??;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("schemathesis, seed {SEED}: {}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let seen: Value = serde_json::from_str(&std::fs::read_to_string(&tally)?)?;
    every_operation_was_answered_well(&seen).with_context(|| format!("seed {SEED}: {seen:#}"))?;
    // What was stored in the meantime stopped no projector.
    let second = "2026-03-27 08:00:00";
    let event = json!({"eventType": "Agent", "eventTime": second, "username": "demo_user",
        "data": {"action": "ready", "agentUniqeId": 100_001, "agentId": "agent.one", "agentMode": "INBOUND", "eventTime": second}});
    stack.event(&event).await?;
    Ok(())
}

/// A run in which everything was refused would find nothing either.
fn every_operation_was_answered_well(seen: &Value) -> Outcome {
    let mut wanted: Vec<String> = Vec::new();
    for path in [
        "/api/supervisor/agent-event",
        "/api/supervisor/call-event",
        "/webhooks/ozonetel/missed-call",
        "/workspaces/{workspace}/webhooks/ozonetel/missed-call",
    ] {
        for path in [path.to_owned(), format!("{path}/k/{{key}}")] {
            wanted.extend(["GET", "HEAD"].map(|method| format!("{method} {path} 200")));
            wanted.extend(["202", "400"].map(|status| format!("POST {path} {status}")));
        }
    }
    wanted.extend(
        [
            "POST /api/supervisor/register 200",
            "POST /api/supervisor/register 400",
            "DELETE /api/supervisor/register/{workspace}/agents/{agent} 204",
            "DELETE /api/supervisor/register/{workspace}/dids/{did} 204",
            "POST /api/supervisor/heartbeat 200",
            "GET /api/supervisor/directory 200",
            "GET /livez 200",
            "GET /readyz 200",
            "GET /metrics 200",
            // GET of it schemathesis leaves out: that is how it was read.
            "HEAD /openapi.json 200",
        ]
        .map(str::to_owned),
    );
    let missing: Vec<_> = wanted.into_iter().filter(|answer| seen[answer].as_u64().unwrap_or_default() == 0).collect();
    ensure!(missing.is_empty(), "never seen: {missing:?}");
    Ok(())
}
