//! What cannot be applied is set aside with what follows of its key, listed, and applied again in order.

use helix_postgres::{ParkedFilter, ProgressOf, UNPARK_PIECE, UnparkError, parked, pause};
use helix_runtime::{Batch, Cause, NextOffset, Offset, Parked, Record, Slice, Store as _, StoreError};
use helix_schemas::fact::{AgentState, Body, Fact};

use crate::story::{TOPIC, World, inbound, of, rang, state, summary};

fn poison_of(error: &StoreError) -> (i32, Offset) {
    let StoreError::Poison { partition, offset, .. } = error else { panic!("no poison: {error}") };
    (*partition, *offset)
}

/// A record that no codec reads, between facts of the same agent and of another.
async fn with_a_broken_record() -> (World, (i32, Offset), Vec<Fact>) {
    let mut world = World::new().await;
    world.tell([state(0, "agent.one", AgentState::Ready, None)]).await;
    let broken = world.log.append_raw(b"ramaiah/agent.one", b"\0\0\0\0\x01none");
    let later = vec![
        state(10, "agent.one", AgentState::Paused, Some("Lunch")),
        state(11, "agent.two", AgentState::Ready, None),
        state(12, "agent.one", AgentState::Ready, None),
    ];
    world.append(later.clone());
    (world, broken, later)
}

fn of_key(records: &[Record], partition: i32, key: &[u8]) -> Vec<(i32, Record)> {
    records.iter().filter(|record| record.key == key).map(|record| (partition, record.clone())).collect()
}

#[tokio::test]
async fn a_poison_fact_and_what_follows_of_its_key_are_parked_and_the_rest_flows() {
    let (mut world, broken, _) = with_a_broken_record().await;
    let batch = world.rest();
    let refused = world.apply(&batch).await.unwrap_err();
    assert_eq!(poison_of(&refused), broken);
    let batch = world.rest_with_parked(broken, "cannot be read");
    world.apply(&batch).await.unwrap();

    let listed = parked(&world.pool, &ParkedFilter::default()).await.unwrap();
    let causes: Vec<(i64, &Cause)> = listed.iter().map(|entry| (entry.parked.offset.0, &entry.parked.cause)).collect();
    let first = broken.1;
    let reason = Cause::Poison("cannot be read".to_owned());
    let behind = Cause::Behind(first);
    let last = listed.last().unwrap().parked.offset.0;
    assert_eq!(causes, [(first.0, &reason), (first.0 + 1, &behind), (last, &behind)]);
    assert!(listed.iter().all(|entry| entry.topic == TOPIC && entry.partition == broken.0));
    assert!(listed.iter().all(|entry| entry.parked.key.as_ref() == b"ramaiah/agent.one"));
    let snapshot = world.snapshot().await;
    let rows = &snapshot.rows.values().next().unwrap().agents;
    let states: Vec<(&str, AgentState)> = rows.iter().map(|row| (row.agent.as_str(), row.state)).collect();
    assert_eq!(states, vec![("agent.one", AgentState::Ready), ("agent.two", AgentState::Ready)]);

    // Whoever takes over parks what follows of the key.
    let position = world.another_store().acquire(TOPIC, &[broken.0]).await.unwrap().remove(0);
    assert_eq!(position.parked.into_iter().collect::<Vec<_>>(), vec![("ramaiah/agent.one".into(), first)]);
}

#[tokio::test]
async fn what_is_parked_is_found_by_projection_workspace_and_key() {
    let (mut world, broken, _) = with_a_broken_record().await;
    let batch = world.rest_with_parked(broken, "cannot be read");
    world.apply(&batch).await.unwrap();
    let found = async |filter: ParkedFilter| parked(&world.pool, &filter).await.unwrap().len();
    assert_eq!(found(ParkedFilter { projection: Some("postgres".into()), ..Default::default() }).await, 3);
    assert_eq!(found(ParkedFilter { projection: Some("forward:x".into()), ..Default::default() }).await, 0);
    let of = |name: &str| ParkedFilter { workspace: Some(crate::story::workspace(name)), ..Default::default() };
    assert_eq!(found(of("ramaiah")).await, 3);
    assert_eq!(found(of("global")).await, 0);
    assert_eq!(found(ParkedFilter { key: Some("ramaiah/agent.one".into()), ..Default::default() }).await, 3);
    assert_eq!(found(ParkedFilter { key: Some("ramaiah/agent.two".into()), ..Default::default() }).await, 0);
}

/// Two facts of one agent, parked by hand as if the first had been poison for an older build.
async fn parked_by_an_older_build() -> (World, Vec<(i32, Record)>) {
    let mut world = World::new().await;
    world.tell([state(0, "agent.one", AgentState::Ready, None)]).await;
    let at = world.log.append(&state(10, "agent.one", AgentState::Paused, Some("Lunch")));
    world.append([state(12, "agent.one", AgentState::Ready, None), state(13, "agent.two", AgentState::Ready, None)]);
    let all = world.log.between(at.0, NextOffset(at.1.0), world.log.end(at.0));
    let batch = world.rest_with_parked(at, "an older build did not understand it");
    world.apply(&batch).await.unwrap();
    (world, of_key(&all, at.0, b"ramaiah/agent.one"))
}

#[tokio::test]
async fn a_dry_run_shows_the_rows_that_would_change_and_changes_none() {
    let (world, records) = parked_by_an_older_build().await;
    let before = world.snapshot().await;
    let shown = world.store.unpark(TOPIC, b"ramaiah/agent.one", records, true).await.unwrap();
    assert!(!shown.done);
    assert_eq!(shown.facts, 2);
    let tables: Vec<&str> = shown.changes.iter().map(|row| row.table).collect();
    assert_eq!(tables, ["agent_intervals", "agent_intervals", "agent_intervals", "agents"]);
    let agent = shown.changes.last().unwrap();
    assert_eq!(agent.key, "agent.one");
    assert_ne!(agent.before.as_ref().unwrap()["since"], agent.after.as_ref().unwrap()["since"]);
    let after = world.snapshot().await;
    assert_eq!(before.roots, after.roots);
    assert_eq!(parked(&world.pool, &ParkedFilter::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn unparking_leaves_the_rows_as_if_nothing_had_ever_been_parked_and_fences_the_projector() {
    let (mut world, records) = parked_by_an_older_build().await;
    let undone = world.store.unpark(TOPIC, b"ramaiah/agent.one", records[1..].to_vec(), false).await;
    assert!(matches!(undone, Err(UnparkError::Moved)), "{undone:?}");
    let done = world.store.unpark(TOPIC, b"ramaiah/agent.one", records.clone(), false).await.unwrap();
    assert!(done.done);
    world.agrees_with_the_fold().await;
    assert_eq!(parked(&world.pool, &ParkedFilter::default()).await.unwrap(), vec![]);
    let again = world.store.unpark(TOPIC, b"ramaiah/agent.one", records, false).await;
    assert!(matches!(again, Err(UnparkError::NothingParked)), "{again:?}");

    // The projector that held the partition still takes the key for parked: it must come back before it goes on.
    world.append([state(20, "agent.one", AgentState::Paused, None)]);
    let batch = world.rest();
    let fenced = world.apply(&batch).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "{fenced:?}");
    world.acquire().await;
    world.drain().await;
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn what_is_unparked_in_pieces_stays_in_order_and_parked_until_the_last_of_them() {
    let (mut world, records) = parked_by_an_older_build().await;
    let key = b"ramaiah/agent.one";
    let done = world.store.unpark(TOPIC, key, records[..1].to_vec(), false).await.unwrap();
    assert_eq!((done.facts, done.left), (1, 1));
    assert_eq!(parked(&world.pool, &ParkedFilter::default()).await.unwrap().len(), 1);
    // The projector comes back between two pieces: what follows of the key waits behind what is left.
    let at = records[0].0;
    let first = world.another_store().acquire(TOPIC, &[at]).await.unwrap().remove(0).parked;
    assert_eq!(first.into_iter().collect::<Vec<_>>(), vec![("ramaiah/agent.one".into(), records[1].1.offset)]);
    let done = world.store.unpark(TOPIC, key, records[1..].to_vec(), false).await.unwrap();
    assert_eq!((done.facts, done.left), (1, 0));
    world.acquire().await;
    world.drain().await;
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_dry_run_of_more_than_a_piece_shows_each_row_as_it_was_before_all_and_is_after_all() {
    let mut world = World::new().await;
    world.tell([state(0, "agent.one", AgentState::Ready, None)]).await;
    let count = i64::try_from(UNPARK_PIECE).unwrap() + 10;
    let word = |second: i64| if second % 2 == 0 { AgentState::Ready } else { AgentState::Paused };
    let at = world.log.append(&state(1, "agent.one", word(1), None));
    world.append((2..=count).map(|second| state(second, "agent.one", word(second), None)));
    let records = world.log.between(at.0, NextOffset(at.1.0), world.log.end(at.0));
    let batch = world.rest_with_parked(at, "an older build did not understand it");
    world.apply(&batch).await.unwrap();
    let records = of_key(&records, at.0, b"ramaiah/agent.one");
    let before = world.snapshot().await;
    let shown = world.store.unpark(TOPIC, b"ramaiah/agent.one", records.clone(), true).await.unwrap();
    assert_eq!((shown.facts, shown.left), (records.len(), 0));
    assert_eq!(world.snapshot().await.roots, before.roots);
    let moment = |second: i64| helix_fold::row::Cell::At(crate::story::at(second)).to_json();
    let of_agent = shown.changes.last().unwrap();
    assert_eq!(of_agent.before.as_ref().unwrap()["since"], moment(0));
    assert_eq!(of_agent.after.as_ref().unwrap()["since"], moment(count));
    // The first interval ends, and the others are new: none is shown as it was in between.
    let intervals = shown.changes.iter().filter(|row| row.table == "agent_intervals");
    let (known, new): (Vec<_>, Vec<_>) = intervals.partition(|row| row.before.is_some());
    assert_eq!((known.len(), new.len()), (1, records.len()));
    for piece in records.chunks(UNPARK_PIECE) {
        world.store.unpark(TOPIC, b"ramaiah/agent.one", piece.to_vec(), false).await.unwrap();
    }
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_key_that_still_cannot_be_applied_stays_parked() {
    let (mut world, broken, _) = with_a_broken_record().await;
    let records = world.log.between(broken.0, NextOffset(broken.1.0), world.log.end(broken.0));
    let batch = world.rest_with_parked(broken, "cannot be read");
    world.apply(&batch).await.unwrap();
    let before = world.snapshot().await;
    let records = of_key(&records, broken.0, b"ramaiah/agent.one");
    let tried = world.store.unpark(TOPIC, b"ramaiah/agent.one", records, false).await.unwrap_err();
    assert!(matches!(tried, UnparkError::Store(StoreError::Poison { offset, .. }) if offset == broken.1), "{tried}");
    assert_eq!(world.snapshot().await.roots, before.roots);
    assert_eq!(parked(&world.pool, &ParkedFilter::default()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_text_that_postgres_cannot_hold_is_refused_and_not_tried_for_ever() {
    let mut world = World::new().await;
    let nul = summary(0, "c1", |said| said.disposition = Some("Booked\0".to_owned()));
    world.append([nul, state(1, "agent.one", AgentState::Ready, None)]);
    let batch = world.rest();
    let refused = world.apply(&batch).await.unwrap_err();
    let StoreError::Refused { reason } = refused else { panic!("{refused}") };
    assert!(reason.contains("22021"), "{reason}");
    assert!(!reason.contains("Booked"), "{reason}");
    assert!(world.snapshot().await.rows.is_empty());
}

#[tokio::test]
async fn a_text_that_is_longer_than_an_index_takes_is_refused() {
    use rand::RngExt as _;
    let mut world = World::new().await;
    // Nothing that compresses well; digits, as callers are found by those alone.
    let mut dice = rand::rng();
    let caller: String = (0..20_000).map(|_| char::from(dice.random_range(b'0'..=b'9'))).collect();
    world.append([rang(0, "c1", None, helix_schemas::fact::CallParty { caller: Some(caller), ..inbound() })]);
    let batch = world.rest();
    let refused = world.apply(&batch).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Refused { reason } if reason.contains("54000")), "{refused}");
}

#[tokio::test]
async fn progress_alone_parks_and_lets_go_too() {
    let world = World::new().await;
    let forward = ProgressOf::new(world.pool.clone(), "forward:ramaiah");
    let held = forward.acquire(TOPIC, &[0]).await.unwrap().remove(0);
    let parked_one = Parked { offset: Offset(0), key: "ramaiah/a".into(), cause: Cause::Poison("a reason".into()) };
    let slice = Slice {
        partition: 0,
        epoch: held.epoch,
        from: NextOffset(0),
        to: NextOffset(1),
        records: Vec::new(),
        parked: vec![parked_one],
    };
    let batch = Batch { topic: TOPIC.to_owned(), slices: vec![slice] };
    forward.advance(&batch).await.unwrap();
    let again = forward.acquire(TOPIC, &[0]).await.unwrap().remove(0);
    assert_eq!(again.next_offset, NextOffset(1));
    assert_eq!(again.parked.get("ramaiah/a".as_bytes()), Some(&Offset(0)));
    assert_eq!(forward.release(TOPIC, b"ramaiah/a").await.unwrap(), 1);
    let after = forward.acquire(TOPIC, &[0]).await.unwrap().remove(0);
    assert!(after.parked.is_empty());
    assert!(after.epoch.0 > again.epoch.0 + 1, "whoever held it was fenced");
}

#[tokio::test]
async fn a_paused_projection_says_so_to_its_engine() {
    let mut world = World::new().await;
    let standing = world.store.standing(TOPIC, &[0, 1]).await.unwrap().unwrap();
    assert!(!standing.paused);
    assert_eq!(standing.positions.len(), 2);
    pause(&world.pool, "postgres", true).await.unwrap();
    assert!(world.store.standing(TOPIC, &[0]).await.unwrap().unwrap().paused);
    let forward = ProgressOf::new(world.pool.clone(), "forward:ramaiah");
    assert!(!forward.standing_of(TOPIC, &[0]).await.unwrap().paused);
    pause(&world.pool, "postgres", false).await.unwrap();
    assert!(!world.store.standing(TOPIC, &[0]).await.unwrap().unwrap().paused);
}

#[tokio::test]
async fn the_other_workspace_of_a_parked_call_key_is_untouched() {
    let mut world = World::new().await;
    let mut broken = of("global", rang(0, "c1", None, inbound()));
    if let Body::CallRang(rang) = &mut broken.body {
        rang.party.did = Some("\0".to_owned());
    }
    let at = world.log.append(&broken);
    world.append([rang(1, "c1", None, inbound())]);
    let batch = world.rest_with_parked(at, "refused");
    world.apply(&batch).await.unwrap();
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot.roots.keys().collect::<Vec<_>>(), ["ramaiah"]);
}

#[tokio::test]
async fn what_was_prepared_ahead_is_applied_as_if_it_had_been_read_then() {
    let mut world = World::new().await;
    let prepare = |world: &World, batch: &Batch| -> Vec<_> {
        let prepare = world.store.preparer().unwrap();
        batch.slices.iter().flat_map(|slice| &slice.records).map(prepare).collect()
    };
    let agents = ["agent.one", "agent.two"];
    world.append(agents.map(|agent| state(0, agent, AgentState::Ready, None)));
    let batch = world.rest();
    let mut prepared = prepare(&world, &batch);
    assert!(prepared.len() == 2 && prepared.iter().all(Option::is_some));
    // Not all of a batch need have been read ahead.
    prepared[0] = None;
    world.store.apply_prepared(&batch, prepared).await.unwrap();
    world.agrees_with_the_fold().await;
    world.acquire().await;
    world.append(agents.map(|agent| state(10, agent, AgentState::Paused, None)));
    let broken = world.log.append_raw(b"ramaiah/agent.one", b"\0\0\0\0\x01none");
    let batch = world.rest();
    let prepared = prepare(&world, &batch);
    assert_eq!(prepared.iter().filter(|one| one.is_none()).count(), 1, "what cannot be read is left to the batch");
    let refused = world.store.apply_prepared(&batch, prepared).await.unwrap_err();
    assert_eq!(poison_of(&refused), broken);
}
