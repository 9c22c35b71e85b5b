//! The way out through failures of the log and of the disk: what was answered 202 is in the log in the end, in order.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use helix_ingest::outlet::{Entry, Mode, Spool, SpoolError};
use helix_kit::config::{Config, RateConfig};
use helix_schemas::topics;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tempfile::TempDir;

use super::{
    log::{AGENT_EVENT, deliver},
    support::{Stage, cluster, codecs, config, read_topic, sample},
};

/// Short enough for tests, far above what the mock cluster needs on a busy machine.
const AFTER: Duration = Duration::from_millis(1500);

/// Where nothing is said of a single event: an outage of a moment is felt.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

fn spooled(brokers: &str, folder: &Path) -> Config {
    let mut config = config(brokers);
    config.spool.folder = folder.to_path_buf();
    config.spool.after = AFTER;
    config
}

fn event(agent: &str, number: usize) -> String {
    // The second tells events apart, as the provider's do.
    let (minute, second) = (number / 60, number % 60);
    format!(
        r#"{{"eventType":"Agent","username":"u","data":{{"action":"release","agentId":"{agent}","n":{number},"eventTime":"2026-03-24 10:{minute:02}:{second:02}"}}}}"#
    )
}

/// The numbers of each agent's facts in the log's order, repeats of an id left out.
fn told(cluster: &MockCluster<'static, DefaultProducerContext>) -> BTreeMap<String, Vec<i64>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut told: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in read_topic(&cluster.bootstrap_servers(), topics::FACTS) {
        let fact = codecs().fact.decode(&record.value).unwrap();
        if seen.insert(fact.id) {
            let raw: serde_json::Value = serde_json::from_slice(&fact.raw).unwrap();
            told.entry(record.key).or_default().push(raw["data"]["n"].as_i64().unwrap());
        }
    }
    told
}

async fn in_mode(stage: &Stage, mode: Mode) {
    let reached = async {
        while stage.outlet.mode() != mode {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the outlet gets there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_log_is_down_events_are_spooled_and_then_drained_in_order() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let stage = Stage::new(spooled(&cluster.bootstrap_servers(), folder.path()));
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 0)).await.statuses(), ["stored"]);
    cluster.broker_down(1).unwrap();
    for number in 1..40 {
        let answer = deliver(&stage, AGENT_EVENT, event("agent.one", number)).await;
        assert_eq!(answer.statuses(), ["spooled"]);
        let result = &answer.json["results"][0];
        assert_eq!(result["topic"], topics::FACTS);
        assert!(result["partition"].is_null() && result["offset"].is_null(), "{result}");
    }
    // A repeat is known, wherever the first one is.
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 39)).await.statuses(), ["duplicate"]);
    // Bodies that cannot be read are kept as well.
    let answer = deliver(&stage, AGENT_EVENT, "no body").await;
    answer.is_problem(400, "body_unreadable");
    assert!(answer.json["rejectedId"].is_string());
    assert_eq!(stage.outlet.spool().unwrap().fill().records, 40);
    cluster.broker_up(1).unwrap();
    in_mode(&stage, Mode::Direct).await;
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 40)).await.statuses(), ["stored"]);
    assert_eq!(told(&cluster)["ramaiah/agent.one"], (0..=40).collect::<Vec<_>>());
    assert_eq!(read_topic(&cluster.bootstrap_servers(), topics::REJECTED).len(), 1);
    let fill = stage.outlet.spool().unwrap().fill();
    assert_eq!((fill.records, fill.bytes, fill.oldest), (0, 0, None));
}

/// Several agents post at once, each waiting for its answer, while the log goes away, is slow, refuses and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_for_every_agent_through_random_faults_under_load() {
    let seed: u64 = std::env::var("HELIX_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_121);
    println!("HELIX_SEED={seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let mut config = spooled(&cluster.bootstrap_servers(), folder.path());
    config.spool.after = AT_ONCE;
    let stage = Stage::new(config);
    // Batches keep several records of an agent on their way at once.
    let posting = async |agent: &str| {
        let mut statuses = BTreeMap::<String, usize>::new();
        for batch in 0..500 {
            let events: Vec<String> = (0..3).map(|number| event(agent, batch * 3 + number)).collect();
            let answer = deliver(&stage, AGENT_EVENT, format!("[{}]", events.join(","))).await;
            for status in answer.statuses() {
                *statuses.entry(status.to_owned()).or_default() += 1;
            }
        }
        statuses
    };
    let faults = async {
        for _ in 0..4 {
            let fault = dice.random_range(0..3);
            let lasting = Duration::from_millis(dice.random_range(100..900));
            match fault {
                0 => cluster.broker_down(1).unwrap(),
                1 => cluster.broker_round_trip_time(1, Duration::from_millis(700)).unwrap(),
                _ => {
                    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
                    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal; 12]);
                }
            }
            tokio::time::sleep(lasting).await;
            cluster.broker_up(1).unwrap();
            cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let (one, two, other, ()) = tokio::join!(posting("agent.one"), posting("agent.two"), posting("rekha.cc"), faults);
    in_mode(&stage, Mode::Direct).await;
    println!("{one:?} {two:?} {other:?}");
    assert!([&one, &two, &other].iter().any(|statuses| statuses.contains_key("spooled")), "no fault was felt");
    let told = told(&cluster);
    for key in ["ramaiah/agent.one", "ramaiah/agent.two", "global/rekha.cc"] {
        assert_eq!(told[key], (0..1500).collect::<Vec<_>>(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_log_is_spooled_for_and_drained_all_the_same() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let stage = Stage::new(spooled(&cluster.bootstrap_servers(), folder.path()));
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 0)).await.statuses(), ["stored"]);
    cluster.broker_round_trip_time(1, AFTER * 4 / 3).unwrap();
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 1)).await.statuses(), ["spooled"]);
    in_mode(&stage, Mode::Direct).await;
    assert_eq!(told(&cluster)["ramaiah/agent.one"], [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_run_spooled_goes_before_anything_new() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let config = spooled(&cluster.bootstrap_servers(), folder.path());
    cluster.broker_down(1).unwrap();
    {
        let stage = Stage::new(config.clone());
        for number in 0..3 {
            assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", number)).await.statuses(), ["spooled"]);
        }
    }
    let stage = opened_again(config).await;
    // The log is still away, and nothing has been tried yet: what is in the spool decides.
    assert_eq!(stage.outlet.mode(), Mode::Spooling);
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 3)).await.statuses(), ["spooled"]);
    cluster.broker_up(1).unwrap();
    in_mode(&stage, Mode::Direct).await;
    assert_eq!(told(&cluster)["ramaiah/agent.one"], [0, 1, 2, 3]);
}

/// A stage over a spool whose former owner's thread is still letting go of the file.
async fn opened_again(config: Config) -> Stage {
    for _ in 0..3000 {
        let stage = Stage::new(config.clone());
        if stage.outlet.spool().unwrap().fill().fault.is_none() {
            return stage;
        }
        drop(stage);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the spool's file is never let go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_log_down_and_the_spool_full_it_is_503_and_nothing_overtakes() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let mut config = spooled(&cluster.bootstrap_servers(), folder.path());
    config.spool.limit_mib = 0;
    // A producer that was given up must be let in again before it can produce.
    config.spool.after = Duration::from_secs(5);
    let stage = Stage::new(config);
    cluster.broker_down(1).unwrap();
    let batch = format!("[{},{}]", event("agent.one", 0), event("agent.one", 1));
    let answer = deliver(&stage, AGENT_EVENT, batch.clone()).await;
    answer.is_problem(503, "log_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    cluster.broker_up(1).unwrap();
    in_mode(&stage, Mode::Direct).await;
    assert_eq!(deliver(&stage, AGENT_EVENT, batch).await.statuses(), ["stored", "stored"]);
    assert_eq!(told(&cluster)["ramaiah/agent.one"], [0, 1]);
}

/// Refused by the broker for good, with the next one of the same agent behind it: that one must not overtake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_refused_for_good_is_not_overtaken() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let stage = Stage::new(spooled(&cluster.bootstrap_servers(), folder.path()));
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 0)).await.statuses(), ["stored"]);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal; 2]);
    // One delivery: several of one sender would have no order among each other.
    let behind: Vec<String> = (1..9).map(|number| event("agent.one", number)).collect();
    let answer = deliver(&stage, AGENT_EVENT, format!("[{}]", behind.join(","))).await;
    assert_eq!(answer.status, 202, "{}", answer.json);
    in_mode(&stage, Mode::Direct).await;
    assert_eq!(told(&cluster)["ramaiah/agent.one"], (0..9).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_cannot_be_used_does_not_keep_the_log_from_being_used() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    fs::write(folder.path().join("spool.redb"), b"nothing that this store ever wrote").unwrap();
    let stage = Stage::new(spooled(&cluster.bootstrap_servers(), folder.path()));
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 0)).await.statuses(), ["stored"]);
    cluster.broker_round_trip_time(1, AFTER * 2).unwrap();
    deliver(&stage, AGENT_EVENT, event("agent.one", 1)).await.is_problem(503, "log_unavailable");
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    let again = async { while deliver(&stage, AGENT_EVENT, event("agent.one", 1)).await.status != 202 {} };
    tokio::time::timeout(PATIENCE, again).await.expect("the log is used again");
    assert_eq!(told(&cluster)["ramaiah/agent.one"], [0, 1]);
}

/// A body within its bound whose control characters grow sixfold in what is derived from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_too_large_for_a_record_is_kept_as_it_came_and_stops_nobody() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let stage = Stage::new(spooled(&cluster.bootstrap_servers(), folder.path()));
    let filler = "\u{1}".repeat(200_000);
    let body = format!(
        r#"{{"eventType":"Call","data":{{"action":"Calling","ucid":"9","agent_id":"agent.one","skill":["{filler}"]}}}}"#
    );
    let answer = deliver(&stage, "/api/supervisor/call-event", body).await;
    answer.is_problem(400, "fact_not_writable");
    assert_eq!(read_topic(&cluster.bootstrap_servers(), topics::REJECTED).len(), 1);
    assert_eq!(deliver(&stage, AGENT_EVENT, event("agent.one", 0)).await.statuses(), ["stored"]);
    assert_eq!(stage.outlet.mode(), Mode::Direct);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_takes_nothing_back() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let stage = Stage::new(spooled(&cluster.bootstrap_servers(), folder.path()));
    deliver(&stage, AGENT_EVENT, event("agent.one", 0)).await.statuses();
    cluster.broker_down(1).unwrap();
    let hung_up = tokio::time::timeout(AFTER / 4, deliver(&stage, AGENT_EVENT, event("agent.one", 1))).await;
    assert!(hung_up.is_err());
    stage.outlet.settled().await;
    cluster.broker_up(1).unwrap();
    in_mode(&stage, Mode::Direct).await;
    assert_eq!(told(&cluster)["ramaiah/agent.one"], [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hospital_over_its_rate_is_told_to_wait_and_no_other_feels_it() {
    let cluster = cluster();
    let mut config = config(&cluster.bootstrap_servers());
    config.workspaces.get_mut("ramaiah").unwrap().rate = RateConfig { per_second: 1, burst: 2 };
    let stage = Stage::new(config);
    // More than the burst at once: taken, and paid back by waiting about a second for each.
    let storm: Vec<String> = (0..600).map(|number| event("agent.one", number)).collect();
    assert_eq!(deliver(&stage, AGENT_EVENT, format!("[{}]", storm.join(","))).await.statuses(), ["stored"; 600]);
    let refused = deliver(&stage, AGENT_EVENT, event("agent.one", 600)).await;
    refused.is_problem(429, "rate_limited");
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((500..=600).contains(&seconds), "{seconds}");
    assert_eq!(deliver(&stage, AGENT_EVENT, event("rekha.cc", 0)).await.statuses(), ["stored"]);
    // A delivery of both hospitals is taken whole or not at all.
    let both = format!("[{},{}]", event("rekha.cc", 1), event("agent.one", 601));
    deliver(&stage, AGENT_EVENT, both).await.is_problem(429, "rate_limited");
    let told = told(&cluster);
    assert_eq!((told["ramaiah/agent.one"].len(), &told["global/rekha.cc"]), (600, &vec![0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_of_no_use_from_another_address() {
    let cluster = cluster();
    let mut config = config(&cluster.bootstrap_servers());
    config.accounts.get_mut("ozonetel").unwrap().allowed_sources = vec!["203.0.113.0/24".to_owned()];
    let stage = Stage::new(config);
    let answer = deliver(&stage, AGENT_EVENT, sample("A01.1").body).await;
    answer.is_problem(403, "source_not_allowed");
    assert!(answer.json["rejectedId"].is_string());
}

fn entry(number: u8) -> Entry {
    Entry { topic: "t".to_owned(), key: "k".to_owned(), value: vec![number; 100], at: i64::from(number) + 1 }
}

#[tokio::test]
async fn the_spool_gives_back_by_sequence_whatever_the_order_of_the_puts() {
    let folder = TempDir::new().unwrap();
    let (spool, highest) = Spool::open(folder.path(), 1024 * 1024).unwrap();
    assert_eq!(highest, 0);
    let puts: Vec<_> = [3_u8, 1, 2].map(|number| spool.put(u64::from(number), entry(number)).unwrap()).into();
    for put in puts {
        put.kept().await.unwrap();
    }
    let read: Vec<u64> = spool.read(10, usize::MAX).await.unwrap().into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(read, [1, 2, 3]);
    assert_eq!(spool.read(1, usize::MAX).await.unwrap(), [(1, entry(1))]);
    // At least one, however large.
    assert_eq!(spool.read(10, 1).await.unwrap().len(), 1);
    spool.remove(vec![1, 2]).await.unwrap();
    assert_eq!(spool.read(10, usize::MAX).await.unwrap(), [(3, entry(3))]);
    let fill = spool.fill();
    assert_eq!((fill.records, fill.oldest), (1, Some(4)));
    spool.note("n", b"v".to_vec()).await.unwrap();
    assert_eq!(spool.recall("n").await.unwrap(), Some(b"v".to_vec()));
    assert_eq!(spool.recall("m").await.unwrap(), None);
}

#[tokio::test]
async fn the_spool_takes_no_more_than_its_bound() {
    let folder = TempDir::new().unwrap();
    let (spool, _) = Spool::open(folder.path(), 500).unwrap();
    let mut taken = 0;
    for number in 0..10 {
        match spool.put(u64::from(number) + 1, entry(number)) {
            Ok(put) => {
                put.kept().await.unwrap();
                taken += 1;
            }
            Err(SpoolError::Full) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(taken, 3);
    spool.remove(vec![1]).await.unwrap();
    spool.put(20, entry(1)).unwrap().kept().await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_told_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("spool.redb");
    fs::write(&path, b"nothing that this store ever wrote").unwrap();
    let (spool, _) = Spool::open(folder.path(), 1024).unwrap();
    assert!(spool.fill().fault.is_some());
    assert!(matches!(spool.put(1, entry(1)).unwrap().kept().await, Err(SpoolError::Broken(_))));
    assert_eq!(fs::read(&path).unwrap(), b"nothing that this store ever wrote");
    assert_eq!(spool.fill().bytes, 0);
}
