//! Rows stay under the settings that they were made with, say so where others are configured, and are made with these by a
//! rebuild.

use helix_fold::settings::{Settings, Tz};
use helix_postgres::{AllSettings, Audit, Generation, check_books, other_settings};
use helix_runtime::{StoreError, fill::StandbyState};
use helix_schemas::{fact::Fact, scope::Scope};

use crate::story::{TOPIC, World, answered, missed_call, of, outbound, rang, same_rows, summary, workspace};

/// Written without the country's code, so that the code of the settings links its calls.
const CALLER: &str = "9000000001";
const CHANGED: [&str; 3] = ["country_code", "short_abandon_seconds", "zone"];

fn others() -> AllSettings {
    let other = Settings {
        zone: Tz::America__New_York,
        country_code: "1".to_owned(),
        short_abandon_seconds: 60,
        ..Settings::default()
    };
    AllSettings([(workspace("ramaiah"), other)].into())
}

fn called_back(second: i64, call: &str) -> [Fact; 2] {
    let party = || helix_schemas::fact::CallParty { caller: Some(CALLER.to_owned()), ..outbound() };
    [rang(second, call, Some("b"), party()), answered(second + 5, call, Some("b"), party())]
}

/// A missed call, then a restart with other settings, and what they are found to be.
async fn changed() -> World {
    let mut world = World::new().await;
    let there = missed_call(0, "t1", CALLER).into_iter().map(|fact| of("global", fact));
    world.tell(missed_call(0, "c1", CALLER).into_iter().chain(there)).await;
    world.settings = others();
    world.store = world.another_store();
    world.acquire().await;
    world
}

/// The names of the settings of `ramaiah` that are configured otherwise.
async fn told(world: &World, generation: Generation) -> Vec<String> {
    let mut found = other_settings(&world.pool, generation, &world.settings).await.unwrap();
    let of_ramaiah = found.remove(&workspace("ramaiah")).unwrap_or_default();
    assert!(found.is_empty(), "of nobody else: {found:?}");
    of_ramaiah.into_iter().map(|other| other.name).collect()
}

/// Every row is the fold's under these settings, and not under the others.
async fn made_with(world: &mut World, settings: AllSettings, not: AllSettings) {
    let configured = std::mem::replace(&mut world.settings, settings);
    world.agrees_with_the_fold().await;
    world.settings = configured;
    let stored = world.snapshot().await;
    let under_others = world.log.folded(&not, &stored.progress);
    let ramaiah = workspace("ramaiah");
    assert_ne!(stored.roots["ramaiah"].root, under_others[&ramaiah].root(), "the settings make no difference");
}

#[tokio::test]
async fn what_follows_is_folded_under_the_settings_that_the_rows_were_made_with() {
    let mut world = changed().await;
    assert_eq!(told(&world, Generation::Live).await, CHANGED);
    world.tell(called_back(200, "c2")).await;
    world.tell(missed_call(400, "c3", CALLER)).await;
    made_with(&mut world, AllSettings::default(), others()).await;
    let snapshot = world.snapshot().await;
    let missed = &snapshot.rows[&workspace("ramaiah")].missed_calls;
    assert_eq!(missed[0].status(), "closed", "the caller's calls are linked still");
    assert_eq!(told(&world, Generation::Live).await, CHANGED);
    // Another instance, and one that begins a workspace, know it too.
    world.store = world.another_store();
    world.acquire().await;
    world.tell(called_back(600, "c4")).await;
    made_with(&mut world, AllSettings::default(), others()).await;
}

#[tokio::test]
async fn each_difference_is_told_with_both_values() {
    let world = changed().await;
    let found = other_settings(&world.pool, Generation::Live, &world.settings).await.unwrap();
    let zone = found[&workspace("ramaiah")].iter().find(|other| other.name == "zone").unwrap();
    assert_eq!((&zone.made_with, &zone.configured), (&"Asia/Kolkata".into(), &"America/New_York".into()));
}

#[tokio::test]
async fn a_rebuild_makes_rows_with_what_is_configured_and_a_cut_back_brings_those_it_had() {
    for scope in [Scope::All, Scope::Workspace(workspace("ramaiah"))] {
        let mut world = changed().await;
        world.tell(called_back(200, "c2")).await;
        let generations = world.generations();
        generations.begin(&scope).await.unwrap();
        generations.fill(TOPIC, &mut world.log.clone(), &mut |_, _| (), &|| false).await.unwrap();
        assert_eq!(told(&world, Generation::Standby).await, Vec::<String>::new());
        assert_eq!(told(&world, Generation::Live).await, CHANGED);
        generations.cut_over(TOPIC, &mut world.log.clone()).await.unwrap();
        assert_eq!(told(&world, Generation::Live).await, Vec::<String>::new());
        world.acquire().await;
        world.tell(missed_call(400, "c3", CALLER)).await;
        made_with(&mut world, others(), AllSettings::default()).await;

        // What was live is brought up to date under its own.
        let standby = generations.cut_over(TOPIC, &mut world.log.clone()).await.unwrap();
        assert_eq!(standby.state, StandbyState::Previous);
        assert_eq!(told(&world, Generation::Live).await, CHANGED);
        world.acquire().await;
        world.tell(called_back(800, "c4")).await;
        made_with(&mut world, AllSettings::default(), others()).await;
    }
}

#[tokio::test]
async fn a_rebuild_that_was_begun_under_other_settings_begins_anew() {
    let mut world = changed().await;
    let (configured, before) = (world.settings.clone(), AllSettings::default());
    world.settings = before;
    let generations = world.generations();
    generations.begin(&Scope::All).await.unwrap();
    generations.fill(TOPIC, &mut world.log.clone(), &mut |_, _| (), &|| false).await.unwrap();
    // Asked again under the same it goes on.
    generations.begin(&Scope::All).await.unwrap();
    assert_eq!(generations.gaps(TOPIC).await.unwrap(), vec![]);
    world.settings = configured;
    let generations = world.generations();
    generations.begin(&Scope::All).await.unwrap();
    assert!(!generations.gaps(TOPIC).await.unwrap().is_empty());
    generations.fill(TOPIC, &mut world.log.clone(), &mut |_, _| (), &|| false).await.unwrap();
    assert_eq!(told(&world, Generation::Standby).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_audit_proves_rows_under_their_own_settings_and_tells_that_others_are_configured() {
    let mut world = changed().await;
    world.tell(called_back(200, "c2")).await;
    let (here, there) = (workspace("ramaiah"), workspace("global"));
    let audit = Audit::take(&world.pool, TOPIC, None).await.unwrap();
    let settings = audit.settings(&world.settings);
    assert_eq!((settings.of(&here), settings.of(&there)), (Settings::default(), Settings::default()));
    let names = |told: Vec<helix_postgres::OtherSetting>| told.into_iter().map(|other| other.name).collect::<Vec<_>>();
    assert_eq!(names(audit.other_settings(&here, &world.settings).unwrap()), CHANGED);
    assert_eq!(names(audit.other_settings(&there, &world.settings).unwrap()), Vec::<String>::new());
    // The books are counted by the days of the rows.
    let check = check_books(&world.pool, &world.settings, None).await.unwrap();
    assert!(check.queue_days > 0);
    assert_eq!(check.differences(), 0, "{check:?}");
    let folded = world.log.folded(&settings, &audit.progress);
    same_rows(&world.snapshot().await.rows[&here], &folded[&here]);
}

#[tokio::test]
async fn settings_are_stored_with_the_first_batch_or_not_at_all() {
    let mut world = World::new().await;
    world.settings = others();
    world.store = world.another_store();
    world.acquire().await;
    world.append([summary(0, "c1", |said| said.disposition = Some("Booked\0".to_owned()))]);
    let batch = world.rest();
    let refused = world.apply(&batch).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    let stored = async |world: &World| -> i64 {
        sqlx::query_scalar("select count(*) from helix.row_settings").fetch_one(&world.pool).await.unwrap()
    };
    assert_eq!(stored(&world).await, 0);
    let mut world = World { log: crate::story::Log::new(world.codec.clone()), ..world };
    world.tell(missed_call(0, "c1", CALLER)).await;
    assert_eq!(stored(&world).await, 1);
    made_with(&mut world, others(), AllSettings::default()).await;
}
