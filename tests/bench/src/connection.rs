//! A keep-alive HTTP/1.1 connection with as little of its own in the way as can be: whole requests out, one answer back.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Longer than any deadline of the ingest.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).with_context(|| format!("nobody listens on {target}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), line: String::new(), body: Vec::new() })
    }

    /// Sends a request and reads its answer: status and body.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        self.stream.get_mut().write_all(request).context("the request could not be sent")?;
        let status = self.next_line()?.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
        let mut length = 0;
        loop {
            let line = self.next_line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().context("content-length")?;
                } else if name.eq_ignore_ascii_case("transfer-encoding") {
                    bail!("the answer is chunked, which is not read here");
                }
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).context("the answer broke off")?;
        Ok((status, &self.body))
    }

    fn next_line(&mut self) -> Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line).context("no answer")? == 0 {
            bail!("the connection was closed");
        }
        Ok(self.line.trim_end())
    }
}

/// A whole POST.
pub(crate) fn post(path: &str, key: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: telephony.engage.localhost\r\nuser-agent: helix-bench\r\naccept: */*\r\n\
         x-helix-key: {key}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    request
}

/// A whole GET.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: telephony.engage.localhost\r\n\r\n").into_bytes()
}
