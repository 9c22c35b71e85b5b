//! Whether the rows of the read models were made with what is configured (docs/decisions/0025): looked at for ever, told when
//! it is news.

use std::{collections::BTreeMap, time::Duration};

use helix_kit::http::Readiness;
use helix_postgres::{AllSettings, Generation, OtherSetting, PROJECTION, other_settings};
use helix_schemas::names::WorkspaceId;
use sqlx::PgPool;

/// How often it is looked at: a cut-over changes it while the projector runs.
const EVERY: Duration = Duration::from_secs(30);
/// As `/readyz` names it.
const PART: &str = "settings";

/// The names of what is configured otherwise, by workspace.
type Others = BTreeMap<WorkspaceId, Vec<String>>;

/// Looks for ever; a database that does not answer is asked again in its turn.
pub(super) async fn keep(pool: PgPool, settings: AllSettings, readiness: Readiness) {
    let mut told = Others::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match other_settings(&pool, Generation::Live, &settings).await {
            Ok(found) => {
                let others = names(found);
                for (workspace, names) in news(&told, &others) {
                    warn(workspace, names);
                }
                measure(&settings, &others);
                match reason(&others) {
                    Some(reason) => readiness.degraded(PART, reason),
                    None => readiness.ready(PART),
                }
                told = others;
            }
            Err(error) => tracing::warn!(%error, "what the rows were made with could not be looked at"),
        }
    }
}

fn names(found: BTreeMap<WorkspaceId, Vec<OtherSetting>>) -> Others {
    let names = |others: Vec<OtherSetting>| others.into_iter().map(|other| other.name).collect();
    found.into_iter().map(|(workspace, others)| (workspace, names(others))).collect()
}

/// What was not told as it is now.
fn news<'a>(told: &'a Others, now: &'a Others) -> impl Iterator<Item = (&'a WorkspaceId, &'a [String])> {
    let new = now.iter().filter(|(workspace, names)| told.get(*workspace) != Some(*names));
    new.map(|(workspace, names)| (workspace, names.as_slice()))
}

fn warn(workspace: &WorkspaceId, names: &[String]) {
    tracing::warn!(
        %workspace,
        settings = names.join(", "),
        "the rows of a workspace were made with other settings than are configured, and stay under those: \
         `helix projection rebuild postgres --workspace {workspace} --cut-over`"
    );
}

fn measure(settings: &AllSettings, others: &Others) {
    for workspace in settings.0.keys() {
        let count = others.get(workspace).map_or(0, Vec::len);
        let labels = [("projection", PROJECTION.to_owned()), ("workspace", workspace.to_string())];
        metrics::gauge!("helix_projection_other_settings", &labels).set(count as f64);
    }
}

fn reason(others: &Others) -> Option<String> {
    let of_each = others.iter().map(|(workspace, names)| format!("{workspace} ({})", names.join(", ")));
    let all = of_each.collect::<Vec<_>>().join("; ");
    (!all.is_empty()).then(|| format!("rows were made with other settings than are configured: {all}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(of: &[(&str, &[&str])]) -> Others {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        of.iter().map(|(workspace, of)| (WorkspaceId::new(workspace).unwrap(), names(of))).collect()
    }

    #[test]
    fn what_is_other_is_told_once_and_again_where_it_changes() {
        let (none, zone) = (others(&[]), others(&[("ramaiah", &["zone"])]));
        let both = others(&[("global", &["zone"]), ("ramaiah", &["zone"])]);
        let more = others(&[("ramaiah", &["country_code", "zone"])]);
        let told = |before: &Others, now: &Others| news(before, now).map(|(of, _)| of.to_string()).collect::<Vec<_>>();
        assert_eq!(told(&none, &zone), ["ramaiah"]);
        assert_eq!(told(&zone, &zone), Vec::<String>::new());
        assert_eq!(told(&zone, &both), ["global"]);
        assert_eq!(told(&zone, &more), ["ramaiah"]);
        assert_eq!(told(&zone, &none), Vec::<String>::new());
    }

    #[test]
    fn the_reason_names_workspaces_and_settings() {
        assert_eq!(reason(&others(&[])), None);
        let both = others(&[("global", &["zone"]), ("ramaiah", &["country_code", "rules.attempts"])]);
        let said = reason(&both).unwrap();
        assert!(said.ends_with(": global (zone); ramaiah (country_code, rules.attempts)"), "{said}");
    }
}
