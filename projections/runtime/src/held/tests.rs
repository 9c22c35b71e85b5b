use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const TOPIC: &str = "facts";
const KEYS: u8 = 4;

fn record(offset: i64, key: u8) -> Record {
    Record { offset: Offset(offset), key: vec![key].into(), value: vec![0; 8].into() }
}

/// What is prepared of a record here is its offset.
fn waiting(record: Record, appended_at: Option<i64>) -> Waiting {
    let prepared: Prepared = std::sync::Arc::new(record.offset.0);
    Waiting { record, appended_at, prepared: Some(prepared) }
}

fn position(partition: i32, next: i64, parked: BTreeMap<Bytes, Offset>) -> Position {
    Position { partition, next_offset: NextOffset(next), epoch: Epoch(1), parked }
}

/// A store with a real compare of progress, that cannot apply some records: either it says which, or it refuses the batch.
#[derive(Default)]
struct Stored {
    next: BTreeMap<i32, i64>,
    applied: BTreeMap<i32, Vec<(i64, u8)>>,
    parked: BTreeMap<i32, Vec<(i64, u8, Cause)>>,
    tries: usize,
}

enum Answer {
    Applied,
    Poison(i32, Offset),
    Refused,
}

impl Stored {
    fn apply(&mut self, batch: &Batch, poison: &BTreeSet<(i32, i64)>, says_which: bool) -> Answer {
        self.tries += 1;
        for slice in &batch.slices {
            for record in &slice.records {
                if poison.contains(&(slice.partition, record.offset.0)) {
                    return if says_which { Answer::Poison(slice.partition, record.offset) } else { Answer::Refused };
                }
            }
        }
        for slice in &batch.slices {
            let next = self.next.entry(slice.partition).or_default();
            assert_eq!(*next, slice.from.0, "a slice begins where the last one ended");
            *next = slice.to.0;
            let applied = self.applied.entry(slice.partition).or_default();
            applied.extend(slice.records.iter().map(|record| (record.offset.0, record.key[0])));
            let parked = self.parked.entry(slice.partition).or_default();
            parked.extend(slice.parked.iter().map(|parked| (parked.offset.0, parked.key[0], parked.cause.clone())));
        }
        Answer::Applied
    }

    /// As `Store::acquire` tells it.
    fn position(&self, partition: i32) -> Position {
        let mut first = BTreeMap::new();
        for (offset, key, _) in self.parked.get(&partition).into_iter().flatten() {
            first.entry(Bytes::from(vec![*key])).or_insert(Offset(*offset));
        }
        position(partition, self.next.get(&partition).copied().unwrap_or_default(), first)
    }
}

/// Applies what is held, as the loop does.
fn settle(held: &mut Held, stored: &mut Stored, poison: &BTreeSet<(i32, i64)>, says_which: bool) {
    while held.records() > 0 {
        let batch = held.cut(TOPIC).batch;
        assert!(!batch.is_empty());
        let found = match stored.apply(&batch, poison, says_which) {
            Answer::Applied => {
                held.applied(&batch);
                continue;
            }
            Answer::Poison(partition, offset) => (partition, offset),
            Answer::Refused => match held.refused(&batch) {
                Narrowed::Smaller => continue,
                Narrowed::Found { partition, offset } => (partition, offset),
                Narrowed::Nothing => panic!("there was a record in it"),
            },
        };
        assert!(held.park(found.0, found.1, "bad".to_owned()));
    }
}

prop_compose! {
    /// Records of two partitions with their keys, which of them are poison, and what is pushed before each settling; a
    /// restart after some of them.
    fn a_log()(
        keys in proptest::collection::vec((0..2_i32, 0..KEYS), 1..60),
        poison in proptest::collection::btree_set(0..60_usize, 0..8),
        cuts in proptest::collection::vec((1..20_usize, any::<bool>()), 1..12),
        says_which in any::<bool>(),
    ) -> (Vec<(i32, Record)>, BTreeSet<(i32, i64)>, Vec<(usize, bool)>, bool) {
        let mut ends = [0_i64; 2];
        let mut log = Vec::new();
        let mut bad = BTreeSet::new();
        for (index, (partition, key)) in keys.into_iter().enumerate() {
            let end = &mut ends[usize::try_from(partition).unwrap()];
            if poison.contains(&index) {
                bad.insert((partition, *end));
            }
            log.push((partition, record(*end, key)));
            *end += 1;
        }
        (log, bad, cuts, says_which)
    }
}

proptest! {
    #[test]
    fn applied_and_parked_are_the_log_and_nothing_of_a_key_is_applied_after_its_first_parked(
        (log, poison, cuts, says_which) in a_log(),
    ) {
        let (mut held, mut stored) = (Held::default(), Stored::default());
        let mut cuts = cuts.into_iter().cycle();
        let mut from = 0;
        let mut restart = true;
        while from < log.len() {
            if restart {
                held = Held::default();
                (0..2).for_each(|partition| held.acquired(stored.position(partition)));
            }
            let (count, restarts) = cuts.next().unwrap();
            restart = restarts;
            let to = log.len().min(from + count);
            for (partition, record) in &log[from..to] {
                prop_assert!(held.push(*partition, waiting(record.clone(), None)));
            }
            from = to;
            settle(&mut held, &mut stored, &poison, says_which);
            prop_assert_eq!((held.records(), held.bytes()), (0, 0));
        }
        for partition in 0..2 {
            let log: Vec<(i64, u8)> =
                log.iter().filter(|(at, _)| *at == partition).map(|(_, record)| (record.offset.0, record.key[0])).collect();
            // What a store without such luck would have done, record by record.
            let mut first: BTreeMap<u8, i64> = BTreeMap::new();
            let (mut applied, mut parked) = (Vec::new(), Vec::new());
            for (offset, key) in &log {
                match first.get(key) {
                    Some(first) => parked.push((*offset, *key, Cause::Behind(Offset(*first)))),
                    None if poison.contains(&(partition, *offset)) => {
                        first.insert(*key, *offset);
                        parked.push((*offset, *key, Cause::Poison("bad".to_owned())));
                    }
                    None => applied.push((*offset, *key)),
                }
            }
            prop_assert_eq!(stored.applied.get(&partition).cloned().unwrap_or_default(), applied);
            prop_assert_eq!(stored.parked.get(&partition).cloned().unwrap_or_default(), parked);
        }
    }
}

fn held(keys: &[u8]) -> Held {
    let mut held = Held::default();
    held.acquired(position(0, 0, BTreeMap::new()));
    for (offset, key) in (0..).zip(keys) {
        held.push(0, waiting(record(offset, *key), Some(offset * 10)));
    }
    held
}

#[test]
fn a_refusal_is_narrowed_down_to_one_record_in_twice_the_halvings_of_the_batch() {
    for bad in [0, 1, 511, 700, 1022, 1023] {
        let keys: Vec<u8> = (0..=255).cycle().take(1024).collect();
        let (mut held, mut stored) = (held(&keys), Stored::default());
        settle(&mut held, &mut stored, &BTreeSet::from([(0, bad)]), false);
        assert_eq!(stored.parked[&0][0].0, bad);
        assert!(stored.tries <= 2 * 10 + 2, "{} tries for the record at {bad}", stored.tries);
    }
}

#[test]
fn a_batch_that_is_all_parked_still_moves_progress() {
    let mut held = held(&[7, 7]);
    assert!(held.is_new(0, Offset(0)));
    assert!(held.park(0, Offset(0), "bad".to_owned()));
    assert!(!held.park(0, Offset(1), "bad".to_owned()), "it is parked already, behind the first");
    let batch = held.cut(TOPIC).batch;
    assert_eq!((batch.len(), batch.parked(), batch.is_empty()), (0, 2, false));
    assert_eq!(held.refused(&batch), Narrowed::Nothing);
    let moved = held.applied(&batch);
    assert_eq!(moved, [Moved { partition: 0, next_offset: NextOffset(2), appended_at: Some(10), parked_keys: 1 }]);
}

#[test]
fn a_batch_that_is_all_parked_is_made_smaller_where_it_takes_too_long() {
    let mut held = held(&[7, 7, 7, 7]);
    held.park(0, Offset(0), "bad".to_owned());
    let parked = |held: &Held| held.cut(TOPIC).batch.parked();
    for expected in [4, 2, 1] {
        let batch = held.cut(TOPIC).batch;
        assert_eq!((batch.len(), batch.parked()), (0, expected));
        held.too_long(&batch);
    }
    assert!(held.slowed());
    let batch = held.cut(TOPIC).batch;
    assert_eq!((batch.parked(), batch.slices[0].to), (1, NextOffset(1)));
    held.applied(&batch);
    assert_eq!(parked(&held), 2, "and larger again where it does not");
}

#[test]
fn an_earlier_record_of_a_parked_key_that_turns_out_to_be_poison_becomes_its_first() {
    let mut held = held(&[7, 8, 7, 7]);
    assert!(held.park(0, Offset(2), "late".to_owned()));
    assert!(!held.is_new(0, Offset(0)) && held.park(0, Offset(0), "early".to_owned()));
    let [slice] = held.cut(TOPIC).batch.slices.try_into().unwrap();
    let parked: Vec<(i64, Cause)> = slice.parked.into_iter().map(|parked| (parked.offset.0, parked.cause)).collect();
    let expected =
        [(0, Cause::Poison("early".to_owned())), (2, Cause::Behind(Offset(0))), (3, Cause::Behind(Offset(0)))];
    assert_eq!(parked, expected);
    assert_eq!(slice.records.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_key_that_a_store_says_to_be_parked_further_on_flows_until_there() {
    let mut held = Held::default();
    held.acquired(position(0, 5, BTreeMap::from([(Bytes::from_static(&[7]), Offset(6))])));
    for offset in 5..8 {
        held.push(0, waiting(record(offset, 7), None));
    }
    let [slice] = held.cut(TOPIC).batch.slices.try_into().unwrap();
    // The record itself was not stored as parked yet, for progress is before it: it is tried anew.
    assert_eq!(slice.records.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(slice.parked.len(), 1);
}

#[test]
fn a_record_of_a_partition_that_was_given_back_is_not_taken() {
    let mut held = held(&[1, 2]);
    held.release(0);
    assert_eq!((held.records(), held.bytes()), (0, 0));
    assert!(!held.push(0, waiting(record(2, 1), None)));
    assert!(!held.park(0, Offset(1), String::new()));
    assert!(held.cut(TOPIC).batch.slices.is_empty());
}

#[test]
fn what_was_prepared_goes_with_its_record_through_every_cut_and_is_gone_with_it() {
    let mut held = held(&[7, 8, 7, 9]);
    let offsets = |held: &Held| -> Vec<(i64, i64)> {
        let Cut { batch, prepared } = held.cut(TOPIC);
        let records = batch.slices.iter().flat_map(|slice| &slice.records).map(|record| record.offset.0);
        let prepared = prepared.iter().map(|one| *one.as_ref().unwrap().downcast_ref::<i64>().unwrap());
        records.zip(prepared).collect()
    };
    assert_eq!(offsets(&held), [(0, 0), (1, 1), (2, 2), (3, 3)]);
    assert!(held.park(0, Offset(0), "bad".to_owned()));
    assert_eq!(offsets(&held), [(1, 1), (3, 3)], "of what is parked nothing is given");
    let batch = held.cut(TOPIC).batch;
    assert_eq!(held.refused(&batch), Narrowed::Smaller);
    assert_eq!(offsets(&held), [(1, 1)]);
    let kept = held.cut(TOPIC).prepared.remove(0).unwrap();
    held.release(0);
    assert_eq!((std::sync::Arc::strong_count(&kept), held.records()), (1, 0));
}
