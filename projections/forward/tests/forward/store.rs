//! The store by itself: what one `apply` does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use helix_forward::{ForwardStore, Options, OptionsError};
use helix_runtime::{Batch, Cause, NextOffset, Offset, Parked, Position, Record, Slice, Store as _, StoreError};
use helix_schemas::fact::Fact;
use tokio::sync::watch;

use crate::{
    progress::Kept,
    receiver::{Answer, Receiver},
    stage::{PATIENCE, event, options, reading, workspace},
};

const TOPIC: &str = "telephony.facts";

fn batch(at: &Position, facts: &[Fact]) -> Batch {
    let (_, codec) = reading();
    let record = |(offset, fact): (i64, &Fact)| Record {
        offset: Offset(offset),
        key: fact.key().into(),
        value: codec.encode(fact).expect("a fact of ours").into(),
    };
    let records: Vec<Record> = (at.next_offset.0..).zip(facts).map(record).collect();
    let to = NextOffset(at.next_offset.0 + i64::try_from(facts.len()).expect("small"));
    let slice =
        Slice { partition: at.partition, epoch: at.epoch, from: at.next_offset, to, records, parked: Vec::new() };
    Batch { topic: TOPIC.to_owned(), slices: vec![slice] }
}

async fn taken(receiver: &Receiver, kept: &Kept) -> (ForwardStore<Kept>, Position, watch::Sender<bool>) {
    let (stop, stopping) = watch::channel(false);
    let mut store = ForwardStore::new(workspace("ramaiah"), &options(receiver), kept.clone(), reading(), stopping)
        .expect("options");
    let at = store.acquire(TOPIC, &[0]).await.expect("progress in memory").remove(0);
    (store, at, stop)
}

#[tokio::test]
async fn a_batch_goes_on_where_it_was_and_a_receiver_that_asks_for_quiet_has_it() {
    let kept = Kept::default();
    // The first agent's event is taken, the second's is put off for longer than a batch may wait.
    let mut asked = false;
    let receiver = Receiver::start(move |body| {
        let put_off = body.starts_with("agent.two") && !asked;
        asked |= put_off;
        if put_off { Answer::Later(429, 11) } else { Answer::Status(200) }
    })
    .await;
    let (mut store, at, _stop) = taken(&receiver, &kept).await;
    let batch = batch(&at, &[event("ramaiah", "agent.one", 0), event("ramaiah", "agent.two", 0)]);
    let applied = store.apply(&batch).await;
    assert!(matches!(applied, Err(StoreError::Unavailable(_))), "{applied:?}");
    assert_eq!(store.trouble().why().as_deref(), Some("answered 429"));
    assert_eq!(kept.total(), 0);
    let giving_up = Instant::now() + PATIENCE;
    while let Err(error) = store.apply(&batch).await {
        assert!(matches!(error, StoreError::Unavailable(_)) && Instant::now() < giving_up, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = receiver.seen();
    let bodies: Vec<&str> = seen.iter().map(|seen| seen.body.as_str()).collect();
    assert_eq!(bodies.iter().filter(|body| **body == "agent.one#0").count(), 1, "{bodies:?}");
    let second: Vec<Instant> = seen.iter().filter(|seen| seen.body == "agent.two#0").map(|seen| seen.at).collect();
    assert_eq!(second.len(), 2, "{bodies:?}");
    assert!(second[1].duration_since(second[0]) >= Duration::from_secs(11));
    assert_eq!((kept.total(), store.trouble().why()), (2, None));
}

#[tokio::test]
async fn an_agent_whose_events_fail_holds_up_no_other_agent_of_the_batch() {
    let kept = Kept::default();
    let broken = |body: &str| if body.starts_with("agent.one") { Answer::Status(500) } else { Answer::Status(200) };
    let receiver = Receiver::start(broken).await;
    let (mut store, at, _stop) = taken(&receiver, &kept).await;
    let agents = ["agent.one", "agent.two", "agent.three"];
    let facts: Vec<Fact> = (0..12).map(|number| event("ramaiah", agents[number % 3], number)).collect();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for fact in &facts {
        expected.entry(fact.key()).or_default().push(fact.id.to_string());
    }
    let batch = batch(&at, &facts);
    let applying = async {
        while let Err(error) = store.apply(&batch).await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
    };
    let mending = async {
        receiver.settled(8).await;
        assert!(receiver.seen().iter().all(|seen| seen.settled() || seen.body == "agent.one#0"));
        receiver.instead(|_| Answer::Status(200));
    };
    let both = async { tokio::join!(applying, mending) };
    tokio::time::timeout(PATIENCE, both).await.expect("it is mended");
    receiver.check(&expected);
    assert_eq!(kept.total(), 12);
}

#[tokio::test]
async fn several_agents_are_served_at_once_within_the_bound() {
    let kept = Kept::default();
    // Nobody is answered: as many requests are open as may be.
    let receiver = Receiver::start(|_| Answer::Hang).await;
    let (mut store, at, _stop) = taken(&receiver, &kept).await;
    let facts: Vec<Fact> =
        ["a", "a", "b", "b", "c", "d", "e", "f"].iter().zip(0..).map(|(agent, n)| event("ramaiah", agent, n)).collect();
    let batch = batch(&at, &facts);
    tokio::select! {
        applied = store.apply(&batch) => panic!("{applied:?}"),
        () = receiver.until("four requests are open", |seen| seen.len() >= 4) => {}
    }
    let mut bodies: Vec<String> = receiver.seen().into_iter().map(|seen| seen.body).collect();
    bodies.sort();
    // Lanes take turns in beginning, so which four is not said; but the second event of none.
    assert_eq!(bodies.len(), 4, "{bodies:?}");
    assert!(!bodies.contains(&"a#1".to_owned()) && !bodies.contains(&"b#3".to_owned()), "{bodies:?}");
}

#[tokio::test]
async fn nothing_is_sent_of_a_partition_that_another_instance_has_taken() {
    let kept = Kept::default();
    let receiver = Receiver::scripted([]).await;
    let (mut store, at, _stop) = taken(&receiver, &kept).await;
    kept.taken();
    let applied = store.apply(&batch(&at, &[event("ramaiah", "agent.one", 0)])).await;
    assert!(matches!(applied, Err(StoreError::Fenced { partition: 0 })), "{applied:?}");
    assert_eq!(receiver.seen().len(), 0);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_poison_and_another_workspaces_is_not_even_read() {
    let kept = Kept::default();
    let receiver = Receiver::scripted([]).await;
    let (mut store, at, _stop) = taken(&receiver, &kept).await;
    let mut batch = batch(&at, &[event("global", "rekha.cc", 0), event("ramaiah", "agent.one", 0)]);
    batch.slices[0].records[0].value = Bytes::from_static(b"not framed");
    store.apply(&batch).await.expect("only our own is read");
    let mut next = batch;
    next.slices[0].from = next.slices[0].to;
    next.slices[0].to = NextOffset(3);
    next.slices[0].records.remove(0);
    next.slices[0].records[0].offset = Offset(2);
    next.slices[0].records[0].value = Bytes::from_static(b"not framed");
    let applied = store.apply(&next).await;
    assert!(matches!(applied, Err(StoreError::Poison { partition: 0, offset: Offset(2), .. })), "{applied:?}");
}

#[tokio::test]
async fn what_is_parked_is_kept_with_progress_and_not_sent() {
    let kept = Kept::default();
    let receiver = Receiver::scripted([]).await;
    let (mut store, at, stop) = taken(&receiver, &kept).await;
    let mut batch = batch(&at, &[event("ramaiah", "agent.one", 0), event("ramaiah", "agent.two", 0)]);
    let record = batch.slices[0].records.remove(0);
    let parked = Parked { offset: record.offset, key: record.key, cause: Cause::Poison("unreadable".to_owned()) };
    batch.slices[0].parked.push(parked.clone());
    store.apply(&batch).await.expect("the other is delivered");
    let bodies: Vec<String> = receiver.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!((bodies, kept.total(), kept.parked()), (vec!["agent.two#0".to_owned()], 2, vec![(0, parked.clone())]));
    drop((store, stop));
    let (_store, again, _stop) = taken(&receiver, &kept).await;
    assert_eq!(again.parked, BTreeMap::from([(parked.key, parked.offset)]));
}

#[test]
fn a_receiver_that_cannot_be_spoken_to_is_refused_at_once() {
    let good = Options {
        url: "https://sidecar.example.invalid/base/".into(),
        key: String::new(),
        timeout: Duration::from_secs(5),
        concurrency: 1,
    };
    assert!(good.check().is_ok());
    let wrong = |change: fn(&mut Options)| {
        let mut options = good.clone();
        change(&mut options);
        options.check()
    };
    assert!(matches!(wrong(|options| options.timeout = Duration::from_secs(16)), Err(OptionsError::Timeout)));
    assert!(matches!(wrong(|options| options.timeout = Duration::ZERO), Err(OptionsError::Timeout)));
    assert!(matches!(wrong(|options| options.concurrency = 0), Err(OptionsError::Concurrency)));
    assert!(matches!(wrong(|options| options.url = "ftp://x".into()), Err(OptionsError::Url)));
    assert!(matches!(wrong(|options| options.url = "http://x/?a=b".into()), Err(OptionsError::Url)));
    assert!(matches!(wrong(|options| options.key = "a\nb".into()), Err(OptionsError::Key)));
}
