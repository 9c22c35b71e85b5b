//! Server-sent events over chunked HTTP/1.1, with as little in the way as can be: bytes in, whole events out.

use std::str;

use anyhow::{Context, Result, bail};

/// A head or the size of a chunk is never longer.
const LONGEST_LINE: usize = 16 * 1024;

/// The request for a board's events.
pub(crate) fn request(token: &str) -> Vec<u8> {
    format!("GET /api/supervisor/events HTTP/1.1\r\nhost: sidecar\r\nauthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// A whole event. Comments are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) data: &'a str,
}

impl Event<'_> {
    /// The version of the board in its id, `{generation}-{version}-{root}`.
    pub(crate) fn version(&self) -> Result<u64> {
        let version = self.id.rsplit('-').nth(1).and_then(|version| version.parse().ok());
        version.with_context(|| format!("the id {:?} of an event has no version", self.id))
    }
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy)]
enum Next {
    Head,
    Size,
    Data(usize),
}

/// An answer as far as it was read.
#[derive(Debug)]
pub(crate) struct Stream {
    next: Next,
    line: Vec<u8>,
    events: Vec<u8>,
}

impl Stream {
    /// Before its first byte.
    pub(crate) const fn new() -> Self {
        Self { next: Next::Head, line: Vec::new(), events: Vec::new() }
    }

    /// Takes the next bytes and tells the events that are whole now.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut told: impl FnMut(Event<'_>) -> Result<()>) -> Result<()> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            match self.next {
                Next::Head | Next::Size => {
                    self.line.push(*first);
                    rest = rest.get(1..).unwrap_or_default();
                    self.line()?;
                }
                Next::Data(left) => {
                    let (part, after) = rest.split_at(left.min(rest.len()));
                    self.events.extend_from_slice(part);
                    rest = after;
                    if part.len() < left {
                        self.next = Next::Data(left - part.len());
                    } else {
                        self.next = Next::Size;
                        self.tell(&mut told)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at a head or a size once it is whole.
    fn line(&mut self) -> Result<()> {
        match self.next {
            Next::Head if self.line.ends_with(b"\r\n\r\n") => {
                let head = str::from_utf8(&self.line)?.to_ascii_lowercase();
                if !head.starts_with("http/1.1 200 ") || !head.contains("\r\ntransfer-encoding: chunked\r\n") {
                    bail!("the sidecar answered {}", head.lines().next().unwrap_or_default());
                }
            }
            Next::Size if self.line.ends_with(b"\r\n") => {
                let size = str::from_utf8(&self.line)?.trim();
                // The end of the chunk before stands before the next size.
                if !size.is_empty() {
                    self.next = match usize::from_str_radix(size, 16).context("the size of a chunk")? {
                        0 => bail!("the sidecar ended the stream"),
                        size => Next::Data(size),
                    };
                }
                self.line.clear();
                return Ok(());
            }
            Next::Head | Next::Size | Next::Data(_) => {
                if self.line.len() > LONGEST_LINE {
                    bail!("a line of the answer does not end");
                }
                return Ok(());
            }
        }
        self.line.clear();
        self.next = Next::Size;
        Ok(())
    }

    /// Chunks end where events end, sooner or later: only then are they looked at, so that no byte is looked at twice.
    fn tell(&mut self, told: &mut impl FnMut(Event<'_>) -> Result<()>) -> Result<()> {
        if !self.events.ends_with(b"\n\n") {
            return Ok(());
        }
        let mut event = Event { id: "", name: "", data: "" };
        for line in str::from_utf8(&self.events)?.split('\n') {
            if let Some(id) = line.strip_prefix("id: ") {
                event.id = id;
            } else if let Some(name) = line.strip_prefix("event: ") {
                event.name = name;
            } else if let Some(data) = line.strip_prefix("data: ") {
                event.data = data;
            } else if line.is_empty() && !event.name.is_empty() {
                told(event)?;
                event = Event { id: "", name: "", data: "" };
            }
        }
        self.events.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n";

    fn chunk(data: &str) -> String {
        format!("{:x}\r\n{data}\r\n", data.len())
    }

    fn events(parts: &[&[u8]]) -> Result<Vec<(String, String, u64)>> {
        let (mut stream, mut list) = (Stream::new(), Vec::new());
        for part in parts {
            stream.feed(part, |event| {
                list.push((event.name.to_owned(), event.data.to_owned(), event.version()?));
                Ok(())
            })?;
        }
        Ok(list)
    }

    fn sent() -> String {
        let snapshot = chunk("id: g-1-00000000000000a1\nevent: snapshot\ndata: {}\n\n");
        let two = chunk(
            ":\n\nid: g-2-00000000000000a2\nevent: delta\ndata: {\"a\":1}\n\nid: g-3-00000000000000a3\nevent: delta\ndata: {}\n\n",
        );
        format!("{HEAD}{}{snapshot}{two}", chunk("retry: 1000\n"))
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() -> Result<()> {
        let sent = sent();
        let whole = events(&[sent.as_bytes()])?;
        let told: Vec<_> = whole.iter().map(|(name, data, version)| (name.as_str(), data.as_str(), *version)).collect();
        assert_eq!(told, [("snapshot", "{}", 1), ("delta", "{\"a\":1}", 2), ("delta", "{}", 3)]);
        for width in 1..sent.len() {
            let parts: Vec<&[u8]> = sent.as_bytes().chunks(width).collect();
            assert_eq!(events(&parts)?, whole, "cut every {width} bytes");
        }
        Ok(())
    }

    #[test]
    fn a_refusal_and_an_end_are_errors() {
        assert!(events(&[b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"]).is_err());
        assert!(events(&[format!("{}0\r\n\r\n", sent()).as_bytes()]).is_err());
    }
}
