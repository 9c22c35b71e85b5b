//! From the due time of a webhook to the frame that shows it: posts at a fixed rate and reads the board's events.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use helix_fold::board::visible::Change;
use serde::Deserialize;

use super::{
    lanes::{Awaited, Events},
    stream::{Event, Stream, request},
};
use crate::{
    load::{Expect, Posting},
    pace::{Pace, Schedule},
    sample::{Latencies, Sample},
};

/// How long a frame may still come after the last request was due; the stream itself is never silent for so long.
const PATIENCE: Duration = Duration::from_secs(15);
const BUFFER: usize = 256 * 1024;

#[derive(Deserialize)]
struct Delta {
    changes: Vec<Change>,
}

/// What a run measured: of the requests, and of the frames.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) answers: Sample,
    pub(super) frames: Sample,
}

/// A client that looks for changes.
struct Page {
    socket: TcpStream,
    stream: Stream,
    buffer: Vec<u8>,
}

/// Posts `events` to the ingest and watches the board. Blocks.
pub(super) fn run(
    ingest: SocketAddr,
    (sidecar, token): (SocketAddr, &str),
    events: Events,
    pace: Pace,
    connections: usize,
) -> Result<Watched> {
    let mut page = Page::open(sidecar, token)?;
    let posting = Posting::begin(ingest, connections, events.requests, pace, Expect::Stored)?;
    let frames = page.watch(events.awaited, pace, posting.schedule());
    // Where requests failed, that is why nothing came.
    let answers = posting.finish()?;
    Ok(Watched { answers: answers.sample(Duration::ZERO), frames: frames?.sample(Duration::ZERO) })
}

impl Page {
    /// Connects and takes the snapshot.
    fn open(sidecar: SocketAddr, token: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(sidecar).context("the sidecar")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&request(token))?;
        let mut page = Self { socket, stream: Stream::new(), buffer: vec![0; BUFFER] };
        let mut begun = false;
        while !begun {
            page.read(|_, event| {
                begun |= event.name == "snapshot";
                Ok(())
            })?;
        }
        Ok(page)
    }

    /// Reads once; tells each event with the moment at which it was read.
    fn read(&mut self, mut told: impl FnMut(Instant, Event<'_>) -> Result<()>) -> Result<()> {
        let length = self.socket.read(&mut self.buffer).context("the board's events")?;
        let now = Instant::now();
        if length == 0 {
            bail!("the sidecar ended the stream");
        }
        self.stream.feed(self.buffer.get(..length).unwrap_or_default(), |event| told(now, event))
    }

    /// Reads until the board has shown all that is awaited.
    fn watch(&mut self, mut awaited: Awaited, pace: Pace, schedule: Schedule) -> Result<Latencies> {
        let mut latencies = Latencies::new()?;
        let (_, end) = schedule.window();
        while !awaited.is_empty() {
            if end.elapsed() > PATIENCE {
                bail!("{} of {} events never came to the board", awaited.len(), pace.count());
            }
            self.read(|now, event| {
                match event.name {
                    "delta" => {}
                    "snapshot" => bail!("the board was begun anew"),
                    _ => return Ok(()),
                }
                let delta: Delta = serde_json::from_str(event.data).context("a delta")?;
                for change in &delta.changes {
                    for index in awaited.shown(change)? {
                        let due = schedule.due(index);
                        if now < due {
                            bail!("the board showed event {index} before it was due: it was mistaken for another");
                        }
                        if index >= pace.unmeasured() {
                            latencies.record(Duration::ZERO, now - due);
                        }
                    }
                }
                Ok(())
            })?;
        }
        Ok(latencies)
    }
}
