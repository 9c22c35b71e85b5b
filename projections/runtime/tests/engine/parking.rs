//! A record that cannot be applied parks its key, and nothing else.

use helix_runtime::{Cause, EngineError, Membership, Offset, Parked};

use crate::{
    store::{Fault, Words},
    world::{PATIENCE, World},
};

fn parked(offset: i64, key: &'static str, cause: Cause) -> (i32, Parked) {
    (0, Parked { offset: Offset(offset), key: key.into(), cause })
}

fn poison() -> Cause {
    Cause::Poison("bad".to_owned())
}

const STORY: [(i32, &str, &str); 6] =
    [(0, "one", "a"), (0, "two", "bad"), (0, "one", "b"), (0, "two", "c"), (0, "three", "d"), (0, "one", "e")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_parks_its_key_and_what_follows_of_it_while_the_rest_flows() {
    for words in [Words::Poison, Words::Refused] {
        let world = World::with(1);
        world.shared.cannot_apply(["bad"], words);
        world.append(&STORY);
        let running = world.start(Membership::All);
        world.shared.passed(6, PATIENCE).await;
        assert_eq!(world.shared.values(0), ["a", "b", "d", "e"]);
        let expected = [parked(1, "two", poison()), parked(3, "two", Cause::Behind(Offset(1)))];
        assert_eq!(world.shared.parked(), expected);
        world.append(&[(0, "two", "f"), (0, "one", "g")]);
        world.shared.passed(8, PATIENCE).await;
        assert_eq!(world.shared.values(0), ["a", "b", "d", "e", "g"]);
        assert_eq!(world.shared.parked()[2..], [parked(6, "two", Cause::Behind(Offset(1)))]);
        running.until("the key is counted", |status| status.parked_keys() == 1).await;
        running.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_key_comes_back_from_the_store_after_a_restart() {
    let world = World::with(1);
    world.shared.cannot_apply(["bad"], Words::Poison);
    world.append(&STORY);
    let running = world.start(Membership::All);
    world.shared.passed(6, PATIENCE).await;
    running.stop().await.expect("a clean end");
    // Mended meanwhile: the key stays parked all the same until it is unparked, for its order.
    world.shared.cannot_apply([], Words::Poison);
    world.append(&[(0, "two", "f"), (0, "one", "g")]);
    let running = world.start(Membership::All);
    world.shared.passed(8, PATIENCE).await;
    assert_eq!(world.shared.values(0), ["a", "b", "d", "e", "g"]);
    assert_eq!(world.shared.parked()[2..], [parked(6, "two", Cause::Behind(Offset(1)))]);
    assert_eq!(running.status.parked_keys(), 1);
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_narrowed_down_to_the_one_record_that_is_refused() {
    let world = World::with(1);
    let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let records: Vec<(i32, &str, &str)> = values.iter().map(|value| (0, value.as_str(), value.as_str())).collect();
    world.shared.cannot_apply(["41", "42", "99"], Words::Refused);
    world.append(&records);
    let running = world.start(Membership::All);
    world.shared.passed(100, PATIENCE).await;
    let offsets: Vec<i64> = world.shared.parked().iter().map(|(_, parked)| parked.offset.0).collect();
    assert_eq!(offsets, [41, 42, 99]);
    assert_eq!(world.shared.count(), 97);
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_all_parked_still_moves_progress() {
    let world = World::with(1);
    world.shared.cannot_apply(["bad"], Words::Refused);
    world.append(&[(0, "one", "bad"), (0, "one", "a"), (0, "one", "b")]);
    let running = world.start(Membership::All);
    world.shared.passed(3, PATIENCE).await;
    assert_eq!((world.shared.count(), world.shared.parked().len()), (0, 3));
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parking_whose_answer_is_lost_is_stored_once() {
    let world = World::with(1);
    world.shared.cannot_apply(["bad"], Words::Poison);
    world.append(&STORY);
    // The first try meets the poison; the second is written, but the answer says otherwise.
    world.shared.fail_next([Fault::Unavailable, Fault::AnswerLost, Fault::AnswerLost]);
    let running = world.start(Membership::All);
    world.shared.passed(6, PATIENCE).await;
    world.append(&[(0, "two", "f"), (0, "one", "g")]);
    world.shared.passed(8, PATIENCE).await;
    assert_eq!(world.shared.values(0), ["a", "b", "d", "e", "g"]);
    let offsets: Vec<i64> = world.shared.parked().iter().map(|(_, parked)| parked.offset.0).collect();
    assert_eq!(offsets, [1, 3, 6]);
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_parked_keys_than_allowed_stop_the_projector_and_nothing_is_skipped() {
    let mut world = World::with(1);
    world.park_limit = 2;
    world.shared.cannot_apply(["bad"], Words::Poison);
    world.append(&[(0, "one", "bad"), (0, "two", "bad"), (0, "one", "bad")]);
    let running = world.start(Membership::All);
    world.shared.passed(3, PATIENCE).await;
    world.append(&[(0, "three", "bad"), (0, "four", "a")]);
    let error = running.failed().await;
    assert!(matches!(error, EngineError::TooManyParked { limit: 2, .. }), "{error}");
    assert_eq!((world.shared.progress(), world.shared.parked().len()), (3, 3));
}
