//! What tests and the development feeder share: hand-made facts, a Redis of their own, and a feeder that plays the engine.

#![allow(dead_code)] // Each user takes what it needs.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use helix_fold::settings::Settings;
use helix_live::{Decoder, LiveStore};
use helix_runtime::{Batch, NextOffset, Offset, Position, Record, Slice, Store, StoreError};
use helix_schemas::{
    codec::Codec,
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang, Direction,
        Fact, OccurredAtFrom, Source,
    },
    id::NaturalKey,
    names::{AgentId, CallId, WorkspaceId},
    schema,
    time::{OccurredAt, ReceivedAt},
    topics,
};

/// Partitions the feeder spreads keys over.
pub const PARTITIONS: i32 = 3;

/// A Redis of one test, ended and removed with it.
pub struct TestRedis {
    child: Child,
    pub port: u16,
    folder: tempfile::TempDir,
}

impl TestRedis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings of its own, until it is started again.
    pub fn start_with(settings: &[&str]) -> Self {
        loop {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let child = Self::spawn(port, folder.path(), settings);
            let mut redis = Self { child, port, folder };
            if redis.answers() {
                return redis;
            }
            // Another test was given the same port between our asking for it and our taking it.
        }
    }

    fn spawn(port: u16, folder: &std::path::Path, settings: &[&str]) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder)
            .args(settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Waits until this very process answers on its port; `false` where it has ended, as the port was another's.
    fn answers(&mut self) -> bool {
        let own = format!("process_id:{}\r\n", self.child.id());
        for _ in 0..2400 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.info().is_ok_and(|info| info.contains(&own)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("redis-server does not answer");
    }

    fn info(&self) -> std::io::Result<String> {
        let mut line = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
        line.set_read_timeout(Some(Duration::from_secs(5)))?;
        line.write_all(b"INFO server\r\nQUIT\r\n")?;
        let mut info = String::new();
        line.read_to_string(&mut info)?;
        Ok(info)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on the same port, with what it last saved, if anything.
    pub fn start_again(&mut self) {
        self.child = Self::spawn(self.port, self.folder.path(), &[]);
        assert!(self.answers(), "another process has taken the port");
    }

    pub async fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        // By itself a client gives up after half a second, which a `SAVE` on a busy disk takes.
        let patience = Some(Duration::from_secs(60));
        let patient =
            redis::AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One that nobody has, below those from which the system gives ports to whoever asks for any: nobody is given it before it is
/// taken, nor while who has it is started again.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let any = uuid::Uuid::new_v4().as_u128() % 3_000;
    let mut ports = (12_000..15_000).cycle().skip(usize::try_from(any).unwrap());
    ports.find(free).unwrap()
}

/// Makes facts of one workspace. Times are seconds after `start`.
#[derive(Clone)]
pub struct Facts {
    pub workspace: WorkspaceId,
    pub start: i64,
    /// Received this many milliseconds after they occurred.
    pub delay: i64,
}

impl Facts {
    /// From 2026-03-02 09:00 in Kolkata.
    pub fn of(workspace: &str) -> Self {
        Self { workspace: WorkspaceId::new(workspace).unwrap(), start: 1_772_422_200_000, delay: 120 }
    }

    pub fn at(&self, second: i64) -> OccurredAt {
        OccurredAt::from_millis(self.start + second * 1000)
    }

    fn fact(&self, agent: Option<&str>, call: Option<&str>, second: i64, body: Body) -> Fact {
        let word = match &body {
            Body::AgentStateChanged(changed) => {
                format!("{}/{}", changed.action, changed.reason.as_deref().unwrap_or(""))
            }
            other => other.kind().to_string(),
        };
        let id = NaturalKey::new("ozonetel", "test", &word)
            .field(self.workspace.as_str())
            .field(agent.unwrap_or(""))
            .field(call.unwrap_or(""))
            .field(&second.to_string())
            .id();
        Fact {
            id,
            workspace: self.workspace.clone(),
            agent: agent.map(|agent| AgentId::new(agent).unwrap()),
            call: call.map(|call| CallId::new(call).unwrap()),
            leg: None,
            provider: "ozonetel".to_owned(),
            kind: body.kind(),
            occurred_at: self.at(second),
            occurred_at_from: OccurredAtFrom::Event,
            received_at: ReceivedAt::from_micros((self.start + second * 1000 + self.delay) * 1000),
            raw: Vec::new(),
            raw_content_type: "application/json".to_owned(),
            source: Source::default(),
            normaliser: 1,
            body,
        }
    }

    pub fn state(&self, agent: &str, second: i64, state: AgentState, reason: Option<&str>) -> Fact {
        let body = AgentStateChanged {
            action: state.as_str().to_owned(),
            state: AgentStateWord(state),
            reason: reason.map(str::to_owned),
            mode: Some("INBOUND".to_owned()),
            agent_name: Some(name_of(agent)),
            agent_unique_id: None,
        };
        self.fact(Some(agent), None, second, Body::AgentStateChanged(body))
    }

    fn party(caller: &str, direction: Direction) -> CallParty {
        CallParty {
            direction: Some(direction),
            caller: Some(caller.to_owned()),
            did: Some("918041763400".to_owned()),
            skill: Some("Appointments".to_owned()),
            ..CallParty::default()
        }
    }

    pub fn rang(&self, call: &str, agent: Option<&str>, second: i64, caller: &str) -> Fact {
        let party = Self::party(caller, Direction::Inbound);
        self.fact(agent, Some(call), second, Body::CallRang(CallRang { party }))
    }

    pub fn dialled(&self, call: &str, agent: Option<&str>, second: i64, caller: &str) -> Fact {
        let party = Self::party(caller, Direction::Outbound);
        self.fact(agent, Some(call), second, Body::CallRang(CallRang { party }))
    }

    pub fn answered(&self, call: &str, agent: &str, second: i64, caller: &str) -> Fact {
        let party = CallParty { direction: None, ..Self::party(caller, Direction::Inbound) };
        self.fact(Some(agent), Some(call), second, Body::CallAnswered(CallAnswered { party }))
    }

    pub fn ended(&self, call: &str, agent: Option<&str>, second: i64, caller: &str) -> Fact {
        let party = CallParty { direction: None, ..Self::party(caller, Direction::Inbound) };
        self.fact(agent, Some(call), second, Body::CallEnded(CallEnded { party, hangup_by: None }))
    }
}

fn name_of(agent: &str) -> String {
    let words = agent.split(['.', '_']).map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    });
    words.collect::<Vec<String>>().join(" ")
}

pub fn codec() -> Arc<Codec<Fact>> {
    Arc::new(Codec::new(1, &schema::FACT).unwrap())
}

/// A new store on a Redis.
pub fn store(url: &str, workspace: &str) -> LiveStore {
    let workspace = WorkspaceId::new(workspace).unwrap();
    LiveStore::new(url, workspace, Settings::default(), Decoder::new(codec(), None)).unwrap()
}

/// A log in memory, of some partitions.
#[derive(Default, Clone)]
pub struct Log {
    pub partitions: BTreeMap<i32, Vec<Record>>,
}

impl Log {
    pub fn append(&mut self, fact: &Fact) {
        let codec = codec();
        let key = fact.key();
        let partition = key.bytes().fold(0_i32, |sum, byte| (sum * 31 + i32::from(byte)) % 65_521) % PARTITIONS;
        let records = self.partitions.entry(partition).or_default();
        records.push(Record {
            offset: Offset(records.len() as i64),
            key: Bytes::from(key),
            value: Bytes::from(codec.encode(fact).unwrap()),
        });
    }

    /// What lies after these positions, at most `most` records a partition, as one batch.
    pub fn batch(&self, positions: &[Position], most: usize) -> Batch {
        let mut slices = Vec::new();
        for position in positions {
            let Some(records) = self.partitions.get(&position.partition) else {
                continue;
            };
            let from = position.next_offset.0 as usize;
            let until = records.len().min(from + most);
            if from < until {
                slices.push(Slice {
                    partition: position.partition,
                    epoch: position.epoch,
                    from: position.next_offset,
                    to: NextOffset(until as i64),
                    records: records[from..until].to_vec(),
                    parked: Vec::new(),
                });
            }
        }
        Batch { topic: topics::FACTS.to_owned(), slices }
    }
}

/// Plays the engine: feeds a log to a store.
pub struct Feeder {
    pub store: LiveStore,
    pub positions: Vec<Position>,
    pub log: Log,
}

impl Feeder {
    pub async fn acquire(mut store: LiveStore, log: Log) -> Self {
        let all: Vec<i32> = (0..PARTITIONS).collect();
        let positions = store.acquire(topics::FACTS, &all).await.unwrap();
        Self { store, positions, log }
    }

    pub async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch).await?;
        for slice in &batch.slices {
            for position in &mut self.positions {
                if position.partition == slice.partition {
                    position.next_offset = slice.to;
                }
            }
        }
        Ok(())
    }

    /// Applies all that is in the log, at most `most` records a partition and batch.
    pub async fn drain(&mut self, most: usize) -> Result<(), StoreError> {
        loop {
            let batch = self.log.batch(&self.positions, most);
            if batch.is_empty() {
                return Ok(());
            }
            self.apply(&batch).await?;
        }
    }

    /// Appends and applies.
    pub async fn feed(&mut self, facts: &[Fact]) -> Result<(), StoreError> {
        facts.iter().for_each(|fact| self.log.append(fact));
        self.drain(usize::MAX / 2).await
    }

    pub fn root(&self) -> String {
        self.store.board().unwrap().root().to_string()
    }
}
