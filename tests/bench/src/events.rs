//! What is posted: days of the simulator, as whole HTTP requests in the order in which the provider would send them.
//!
//! Each run gets days of its own, so that no event is a repeat of another, and the provider never fails in them: a
//! repeat would be answered without the log. The rate is the generator's; only order and bytes are the simulator's.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use helix_kit::config::{Config, WorkspaceConfig};
use helix_simulator::{AgentProfile, Day, Delivery, Endpoint, Faults, Scenario, Skill, WebhookStyle};

use crate::connection::post;

/// Agents of each workspace: enough for the calls below, each with a key of its own in the log.
const AGENTS: u32 = 200;
/// Calls an hour that they can take.
const CALLS_PER_HOUR: u32 = 2_000;
/// Longest day of the simulator.
const HOURS: u32 = 24;

/// The agents of a workspace, as [`registrations`] makes them known.
pub(crate) fn agents(slug: &str) -> Vec<AgentProfile> {
    (0..AGENTS).map(|position| AgentProfile::from_id(&format!("bench.{slug}.{position:03}"), position)).collect()
}

/// The requests that put each workspace's agents and numbers into the directory.
pub(crate) fn registrations(config: &Config) -> Vec<Vec<u8>> {
    let workspaces = config.workspaces.iter();
    let requests = workspaces.map(|(slug, workspace)| {
        let agents: Vec<String> = agents(slug).into_iter().map(|agent| agent.id).collect();
        let body = serde_json::json!({
            "workspace": slug, "url": workspace.sidecar_url, "agents": agents, "dids": workspace.dids,
        });
        let body = body.to_string();
        post("/api/supervisor/register", workspace.register_key.reveal(), "application/json", body.as_bytes())
    });
    requests.collect()
}

/// `count` requests of the day with this number, every workspace's in turn as they fall due.
///
/// # Errors
/// Where a day has too few, or there is no account or workspace.
pub(crate) fn requests(config: &Config, number: i64, count: u64) -> Result<Vec<Vec<u8>>> {
    let account = config.accounts.values().next().context("there is no account in the configuration")?;
    let mut all = Vec::new();
    for (slug, workspace) in &config.workspaces {
        let deliveries = day(slug, workspace, number, count)?.deliveries;
        all.extend(deliveries.into_iter().map(|delivery| {
            let key = match delivery.endpoint {
                Endpoint::AgentEvent | Endpoint::CallEvent => &account.key,
                Endpoint::Callback => &workspace.webhook_key,
            };
            (delivery.at, request(slug, key.reveal(), &delivery))
        }));
    }
    // An agent can be rung twice within a second, which the provider tells in the same words.
    let mut told = HashSet::new();
    all.retain(|(_, request)| told.insert(request.clone()));
    all.sort_by_key(|(at, _)| *at);
    let requests: Vec<Vec<u8>> = all.into_iter().map(|(_, request)| request).collect();
    let count = usize::try_from(count)?;
    if requests.len() < count {
        bail!(
            "the simulated days have {} events of the {count} that a run needs: fewer seconds or a lower rate",
            requests.len()
        );
    }
    Ok(requests.into_iter().take(count).collect())
}

fn request(slug: &str, key: &str, delivery: &Delivery) -> Vec<u8> {
    post(&delivery.endpoint.path(slug), key, delivery.content_type, &delivery.body)
}

/// A day that is as long as its share of `count` asks for.
fn day(slug: &str, workspace: &WorkspaceConfig, number: i64, count: u64) -> Result<Day> {
    let mut hours = 1;
    loop {
        let scenario = Scenario {
            seed: number.unsigned_abs(),
            workspace: slug.to_owned(),
            username: slug.to_owned(),
            api_key: "KK_SIMULATED_NOT_A_REAL_KEY".to_owned(),
            agents: agents(slug),
            dids: workspace.dids.clone(),
            skills: Skill::hospital(),
            start: start(number)?,
            hours,
            calls_per_hour: CALLS_PER_HOUR,
            faults: Faults::none(),
            webhook_style: WebhookStyle::Form,
        };
        let day = Day::generate(&scenario);
        // Any share will do that, with the other workspaces', is enough.
        if day.deliveries.len() as u64 >= count * 2 / 3 || hours >= HOURS {
            return Ok(day);
        }
        hours = (hours * 2).min(HOURS);
    }
}

/// Two days apart: the last events of a day run into the next.
fn start(number: i64) -> Result<NaiveDateTime> {
    let first = NaiveDate::from_ymd_opt(2026, 1, 1).and_then(|day| day.and_hms_opt(8, 0, 0));
    first.and_then(|first| first.checked_add_signed(TimeDelta::days(2 * number))).context("the calendar has ended")
}
