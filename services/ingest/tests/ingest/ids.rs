//! Ids over the simulator's days: no two different events share one, and no event has two.
//!
//! The simulator knows which true event a delivery tells, however often, late, restamped or oddly it is told. Seeds are
//! fixed, so that a build is green or red for one reason; `HELIX_SEED=fresh` takes and prints a new one,
//! `HELIX_SEED=<number>` replays one.

use std::collections::{BTreeMap, BTreeSet};

use helix_ingest::normalise::Normalised;
use helix_schemas::id::FactId;
use helix_simulator::{Day, Delivery, EventKind, Faults, Scenario, TrueEvent, WebhookStyle};

use super::support::{context, understood};

fn seeds() -> Vec<u64> {
    match std::env::var("HELIX_SEED").ok().as_deref() {
        None => (1..=6).collect(),
        Some("fresh") => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            vec![u64::from(now.subsec_nanos())]
        }
        Some(number) => vec![number.parse().unwrap()],
    }
}

/// Every failing that leaves something to be told, often.
fn garbled() -> Faults {
    Faults {
        exact_repeat: 150,
        restamped_repeat: 150,
        late: 100,
        swapped: 100,
        mixed_case: 100,
        unknown_action: 50,
        blank_variants: 100,
        hindi: 100,
        batch: 100,
        ..Faults::default()
    }
}

/// Two hospitals under one seed, each with an account of its own: a busy one and a garbled one.
fn scenarios(seed: u64) -> [Scenario; 2] {
    let style = [WebhookStyle::Form, WebhookStyle::FormArray, WebhookStyle::Json][usize::try_from(seed % 3).unwrap()];
    let busy = Scenario { calls_per_hour: 400, webhook_style: style, ..Scenario::sample(seed, "ramaiah") };
    [busy, Scenario { faults: garbled(), hours: 6, ..Scenario::sample(seed, "global") }]
}

fn events(scenario: &Scenario, delivery: &Delivery) -> Vec<Normalised> {
    let path = delivery.endpoint.path(&scenario.workspace);
    let events = understood(&delivery.body, &context(Some(&path))).unwrap();
    events.into_iter().map(|event| event.unwrap_or_else(|why| panic!("{why}"))).collect()
}

/// All that a telling of a true event can say. Its place in the day is not in it: the provider's clock has seconds, and an
/// agent who is rung, freed and rung again within one is told of in the same bytes twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sayable {
    workspace: String,
    second: u32,
    agent: Option<String>,
    /// Agent events do not name the call they belong to.
    call: Option<String>,
    kind: String,
}

impl Sayable {
    fn of(workspace: &str, event: &TrueEvent) -> Self {
        let names_call = match &event.kind {
            EventKind::Agent { .. } => false,
            EventKind::Call { .. } | EventKind::Summary => true,
            EventKind::Noise { word } => ["Hold", "Unhold", "Conference"].contains(word),
        };
        Self {
            workspace: workspace.to_owned(),
            second: event.occurred_at,
            agent: event.agent.as_deref().map(str::to_owned),
            call: event.call.as_deref().filter(|_| names_call).map(str::to_owned),
            kind: format!("{:?}", event.kind),
        }
    }
}

#[test]
fn one_id_is_one_event_however_it_is_told() {
    for seed in seeds() {
        let mut ids: BTreeMap<FactId, (Sayable, String)> = BTreeMap::new();
        let mut said: BTreeMap<Sayable, FactId> = BTreeMap::new();
        let mut contents: BTreeMap<(String, String), FactId> = BTreeMap::new();
        let mut truths = BTreeSet::new();
        let (mut told, mut again) = (0, 0);
        for scenario in scenarios(seed) {
            let day = Day::generate(&scenario);
            for delivery in &day.deliveries {
                let found = events(&scenario, delivery);
                assert_eq!(found.len(), delivery.events.len(), "seed {seed}");
                for (event, truly) in found.into_iter().zip(&delivery.events) {
                    let sayable = Sayable::of(&scenario.workspace, truly);
                    truths.insert((scenario.workspace.clone(), truly.seq, sayable.kind.clone()));
                    told += 1;
                    let (id, kind) = (event.id, event.body.kind());
                    if let Some((other, content)) = ids.get(&id) {
                        again += 1;
                        assert_eq!(*other, sayable, "{id} ({kind}) is two different events, seed {seed}");
                        let alike = content.eq_ignore_ascii_case(&event.content);
                        assert!(alike, "{id} ({kind}) has two contents, seed {seed}:\n{content}\n{}", event.content);
                    } else {
                        let other = contents.insert((event.account, event.content.clone()), id);
                        assert_eq!(other, None, "{id} ({kind}) has the content of another id, seed {seed}");
                        let other = said.insert(sayable.clone(), id);
                        assert_eq!(other, None, "{id} ({kind}) is the second id of {sayable:?}, seed {seed}");
                        ids.insert(id, (sayable, event.content));
                    }
                }
            }
        }
        let alike = truths.len() - ids.len();
        println!(
            "seed {seed}: {told} tellings, {again} of them repeats, {} ids; {alike} events no telling tells apart",
            ids.len()
        );
        assert!(again > 1_000 && ids.len() > 10_000 && alike < 100, "seed {seed}");
    }
}
