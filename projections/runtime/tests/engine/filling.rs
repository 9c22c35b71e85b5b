//! Filling a store from the log: what is parked, and what that costs.

use async_trait::async_trait;
use helix_runtime::{
    NextOffset, Offset, PARK_LIMIT, Record, StoreError,
    fill::{FillError, Filled, Filler, Gap, LogSource},
};

use crate::{
    store::{Memory, Shared, Words},
    world::TOPIC,
};

/// A log of one partition: the key of each record is its own.
struct Log(Vec<String>);

#[async_trait]
impl LogSource for Log {
    async fn records(
        &mut self,
        _topic: &str,
        _partition: i32,
        from: NextOffset,
        to: NextOffset,
    ) -> Result<Vec<Record>, StoreError> {
        let all = (0..).zip(&self.0).skip_while(|(at, _)| *at < from.0).take_while(|(at, _)| *at < to.0);
        let record = |(at, value): (i64, &String)| Record {
            offset: Offset(at),
            key: format!("k{at}").into(),
            value: value.clone().into(),
        };
        Ok(all.map(record).collect())
    }
}

async fn fill(shared: &Shared, values: Vec<String>, portion: i64) -> Result<Filled, FillError> {
    let to = i64::try_from(values.len()).expect("small");
    let mut filler = Filler::new(Memory::new(shared.clone()), TOPIC, portion, &[0]).await?;
    let gaps = vec![Gap { partition: 0, from: 0, to }];
    filler.fill(&mut Log(values), gaps, &mut |_, _| (), &|| false).await
}

/// Each third of them cannot be applied.
fn a_third_is_bad(count: usize) -> Vec<String> {
    (0..count).map(|at| if at % 3 == 0 { "bad".to_owned() } else { at.to_string() }).collect()
}

#[tokio::test]
async fn over_many_poison_facts_each_good_one_is_read_twice_at_most() {
    let shared = Shared::default();
    shared.cannot_apply(["bad"], Words::Poison);
    let filled = fill(&shared, a_third_is_bad(300), 100).await.expect("filled");
    assert_eq!(filled, Filled { records: 300, parked: 100 });
    let (_, unprepared) = shared.came();
    assert_eq!((shared.prepared(), unprepared), (300, 300));
}

#[tokio::test]
async fn more_poison_keys_than_a_projector_parks_end_a_rebuild() {
    for words in [Words::Poison, Words::Refused] {
        let shared = Shared::default();
        shared.cannot_apply(["bad"], words);
        let ended = fill(&shared, vec!["bad".to_owned(); PARK_LIMIT + 1], 100).await;
        let at_limit = i64::try_from(PARK_LIMIT).expect("small");
        assert!(
            matches!(ended, Err(FillError::Store(StoreError::Poison { offset, .. })) if offset.0 == at_limit),
            "{ended:?}"
        );
        assert_eq!(shared.parked().len(), PARK_LIMIT);
    }
}

#[tokio::test]
async fn a_portion_that_takes_too_long_is_halved_and_one_record_is_not() {
    let shared = Shared::default();
    shared.in_time(Some(3));
    let filled = fill(&shared, a_third_is_bad(50), 20).await.expect("filled");
    assert_eq!((filled, shared.count()), (Filled { records: 50, parked: 0 }, 50));
    shared.reset();
    shared.in_time(Some(0));
    let ended = fill(&shared, a_third_is_bad(5), 20).await;
    assert!(matches!(ended, Err(FillError::Store(StoreError::TooLong(_)))), "{ended:?}");
    assert!(shared.parked().is_empty());
}
