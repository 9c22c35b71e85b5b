//! What a spool said it keeps is there, whatever happened to the process or to the end of the file.
//! How it is filled, bounded and drained is shown by those who use it (ingest's `outlet` tests, the sidecar's `audit`).

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use helix_kit::spool::{Entry, Spool, SpoolError};

const LIMIT: u64 = 16 * 1024 * 1024;
/// Where the process that is killed has its spool.
const VICTIM: &str = "HELIX_TEST_SPOOL_VICTIM";

fn entry(number: u64) -> Entry {
    Entry { topic: "t".to_owned(), key: "k".to_owned(), value: number.to_string().into_bytes(), at: 1 }
}

async fn keep(spool: &Spool, number: u64) {
    spool.put(number, entry(number)).unwrap().kept().await.unwrap();
}

async fn numbers(spool: &Spool) -> Vec<u64> {
    spool.read(usize::MAX, usize::MAX).await.unwrap().into_iter().map(|(sequence, _)| sequence).collect()
}

/// Keeps one after the other and says so, until somebody ends it.
async fn be_killed(folder: &Path) {
    let (spool, highest) = Spool::open(folder, LIMIT).unwrap();
    for number in highest + 1.. {
        keep(&spool, number).await;
        println!("kept {number}");
    }
}

#[tokio::test]
async fn what_was_said_to_be_kept_outlives_a_kill() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        return be_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut told = 0;
    for round in 1..=3 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::what_was_said_to_be_kept_outlives_a_kill", "--nocapture"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut kept = |line: std::io::Result<String>| {
            let line = line.unwrap();
            // The harness writes before the first one, on the same line.
            let number = line.split_once("kept ").map(|(_, number)| number.parse::<u64>().unwrap());
            told = number.unwrap_or(told);
            number.is_some()
        };
        let enough = lines.by_ref().filter_map(|line| kept(line).then_some(())).take(20 * round).count();
        assert_eq!(enough, 20 * round, "it ended by itself");
        victim.kill().unwrap();
        victim.wait().unwrap();
        // What it had still said.
        let _later = lines.filter_map(|line| kept(line).then_some(())).count();
        let (spool, _) = Spool::open(folder.path(), LIMIT).unwrap();
        assert_eq!(spool.fill().repairs, 1, "nobody closed it");
        let there = numbers(&spool).await;
        assert!(there.len() as u64 >= told, "{} are there, {told} were told", there.len());
        assert!(there.iter().copied().eq(1..=there.len() as u64), "a gap: {there:?}");
        spool.close().await.unwrap();
    }
    println!("{told} were told to be kept before the last kill");
}

#[tokio::test]
async fn a_torn_end_is_undone_and_told_and_what_came_before_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool.redb");
    let (spool, _) = Spool::open(folder.path(), LIMIT).unwrap();
    let (mut last, mut before, mut after) = (0, Vec::new(), Vec::new());
    // Until a write for which the file did not grow.
    while before.is_empty() || before.len() != after.len() {
        last += 1;
        keep(&spool, last).await;
        before = std::mem::replace(&mut after, std::fs::read(&file).unwrap());
        assert!(last < 100, "it grows with each");
    }
    spool.close().await.unwrap();
    // Of the last write the head of the file reached the disk, and no page of what it points to.
    let (head, pages) = (4096, before.len());
    assert_ne!(before[..head], after[..head]);
    assert_ne!(before[head..], after[head..]);
    let torn = [&after[..head], &before[head..pages]].concat();
    std::fs::write(&file, torn).unwrap();
    let (spool, highest) = Spool::open(folder.path(), LIMIT).unwrap();
    assert_eq!((numbers(&spool).await, highest), ((1..last).collect(), last - 1));
    assert_eq!((spool.fill().repairs, spool.fill().fault), (1, None));
    keep(&spool, last).await;
    assert_eq!(numbers(&spool).await, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_spool_that_was_closed_needs_no_repair_and_refuses_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(folder.path(), LIMIT).unwrap();
    // On its way when it is closed.
    let put = spool.put(1, entry(1)).unwrap();
    spool.close().await.unwrap();
    put.kept().await.unwrap();
    assert!(matches!(spool.put(2, entry(2)), Err(SpoolError::Closed)));
    assert!(matches!(spool.read(1, 1).await, Err(SpoolError::Closed)));
    let (again, highest) = Spool::open(folder.path(), LIMIT).unwrap();
    assert_eq!((numbers(&again).await, highest, again.fill().repairs), (vec![1], 1, 0));
}

#[tokio::test]
async fn what_is_put_and_removed_at_once_is_counted_and_read_as_if_one_came_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, highest) = Spool::open(folder.path(), LIMIT).unwrap();
    let (mut next, mut left) = (highest + 1, Vec::new());
    for round in 0..60 {
        let new: Vec<u64> = (next..next + 1 + round % 5).collect();
        next += 1 + round % 5;
        // Every other of those that are there, and at times one that is only just on its way.
        let old: Vec<u64> =
            left.iter().copied().step_by(2).chain(new.first().copied().filter(|_| round % 3 == 0)).collect();
        let puts: Vec<_> = new.iter().map(|number| spool.put(*number, entry(*number)).unwrap()).collect();
        let (removed, again, kept) = tokio::join!(spool.remove(old.clone()), spool.remove(old.clone()), all(puts));
        removed.unwrap();
        again.unwrap();
        kept.into_iter().for_each(|kept| kept.unwrap());
        left.extend(new);
        left.retain(|number| !old.contains(number));
        assert_eq!(numbers(&spool).await, left, "round {round}");
        let fill = spool.fill();
        assert_eq!((fill.records, fill.arriving), (left.len() as u64, 0), "round {round}");
        assert_eq!(fill.oldest, (!left.is_empty()).then_some(1));
        assert_eq!(fill.bytes == 0, left.is_empty());
    }
    spool.remove(left).await.unwrap();
    let fill = spool.fill();
    assert_eq!((fill.records, fill.arriving, fill.bytes, fill.oldest), (0, 0, 0, None));
    spool.close().await.unwrap();
    let (again, _) = Spool::open(folder.path(), LIMIT).unwrap();
    assert!(numbers(&again).await.is_empty());
}

async fn all(puts: Vec<helix_kit::spool::Put>) -> Vec<Result<(), SpoolError>> {
    let mut kept = Vec::new();
    for put in puts {
        kept.push(put.kept().await);
    }
    kept
}
