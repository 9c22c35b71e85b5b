//! `helix automation`: the process manager over the log (crate `helix-automation`).

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use helix_automation::{AllBounds, AutomationStore, Bounds, GROUP, Log, LogOptions};
use helix_kit::{config::Config, http::Readiness, telemetry};
use helix_runtime::{Engine, Membership};
use tokio::sync::watch;

use crate::{
    failure::Failure,
    projectors::{beside, codec, drive, engine_config, patiently},
    setup::{load, settings},
};

/// Nothing is presumed of whom something was heard within this time: the shortest of the usual bounds, so that live traffic
/// loses nothing by it, and a backlog or a day in fast motion comes to its end first.
const SETTLE: Duration = Duration::from_secs(30);

pub(crate) async fn run(config: Option<&Path>, rebuild: bool) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    telemetry::start_logs(&config.telemetry);
    if rebuild {
        return forget(&config).await;
    }
    let listen = config.automation.listen;
    beside(listen, "automation", async |readiness, stopped| automation(&config, readiness, stopped).await).await
}

async fn automation(config: &Config, readiness: &Readiness, stopped: watch::Receiver<bool>) -> Result<(), Failure> {
    let bounds = bounds(config)?;
    let Some((registry, codec)) = codec(config, &stopped, readiness).await else {
        return Ok(());
    };
    let pool = patiently("postgres", &stopped, readiness, async || {
        let pool = helix_automation::connect(config.postgres.url.reveal(), config.postgres.connections).await?;
        helix_automation::migrate(&pool).await?;
        Ok::<_, helix_automation::AutomationError>(pool)
    })
    .await;
    let Some(pool) = pool else { return Ok(()) };
    let options = LogOptions {
        connection: config.log.connection(),
        delivery_timeout: config.log.delivery_timeout,
        linger: config.log.linger,
    };
    let log = Arc::new(Log::new(&options, codec.clone()));
    let store = AutomationStore::new(pool, (Some(registry), codec), bounds, log).settling(SETTLE);
    let engine = engine_config(config, &config.automation, GROUP.to_owned(), Membership::Group);
    drive(Engine::new(engine, store), readiness, stopped).await
}

/// Forgets what is remembered; instances that run are fenced and read the log anew.
async fn forget(config: &Config) -> Result<ExitCode, Failure> {
    let unreachable = |error| Failure::unreachable("postgres", &error);
    let pool = helix_automation::connect(config.postgres.url.reveal(), 1).await.map_err(unreachable)?;
    helix_automation::migrate(&pool).await.map_err(|error| Failure::of(1, &error))?;
    helix_automation::forget_everything(&pool).await.map_err(|error| Failure::of(1, &error))?;
    println!("automation reads the log anew; what was decided stays decided");
    Ok(ExitCode::SUCCESS)
}

/// Bounds of every configured workspace.
fn bounds(config: &Config) -> Result<AllBounds, Failure> {
    let mut all = AllBounds::default();
    for (workspace, settings) in settings(config)? {
        let Some(own) = config.workspaces.get(workspace.as_str()).map(|own| own.automation) else {
            continue;
        };
        // At most a day each, by the configuration's check.
        let seconds = |bound: Duration| i64::try_from(bound.as_secs()).unwrap_or_default();
        let own = Bounds {
            wrap_up_seconds: seconds(own.wrap_up),
            call_grace_seconds: seconds(own.call_grace),
            call_seconds: seconds(own.call),
            waiting_seconds: seconds(own.waiting),
            silence_seconds: seconds(own.silence),
            day_end_seconds: seconds(own.day_end),
            zone: settings.zone,
        };
        all.0.insert(workspace, own);
    }
    Ok(all)
}
