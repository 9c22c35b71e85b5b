//! Runs one job on an engine thread: opens its session, chooses how to run the statement, hands back the answer.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use crate::access::Scope;
use crate::engine::{Engine, Session};
use crate::exception::{Exception, code};
use crate::ffi::{Connection, Statistics};
use crate::format::{Joining, joining};
use crate::guard;
use crate::request::Request;
use crate::statement::{Statement, analyse};

/// The format where nobody names one, as in ClickHouse.
pub(crate) const DEFAULT_FORMAT: &str = "TabSeparated";
/// So much of a streamed result is held back before its headers are sent, so that an early error is a plain error.
const HELD_BACK: usize = 1 << 20;

/// A query to run and where to answer.
pub(crate) struct Job {
    pub(crate) query_id: String,
    pub(crate) request: Request,
    pub(crate) scope: Scope,
    /// The request's body, as it came.
    pub(crate) body: Vec<Bytes>,
    pub(crate) answer: oneshot::Sender<Result<Answer, Exception>>,
    pub(crate) runtime: runtime::Handle,
    pub(crate) network_timeout: Duration,
}

/// The begin of a result and the way to the rest.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) format: String,
    /// What was read and written so far; all of it when there is no rest.
    pub(crate) statistics: Statistics,
    pub(crate) begin: Vec<Bytes>,
    pub(crate) rest: Option<mpsc::Receiver<Piece>>,
}

/// One piece of a streamed result. A channel that closes without [`Piece::End`] lost its query: the result is broken.
#[derive(Debug)]
pub(crate) enum Piece {
    Rows(Bytes),
    Failed(Exception),
    End,
}

/// Runs the job. The answer may have no taker any more; then the query is dropped.
pub(crate) fn run(engine: &Engine, job: Job) {
    let Job { request, scope, body, answer, runtime, network_timeout, .. } = job;
    if answer.is_closed() {
        return;
    }
    let held_back = if request.waits_for_end { usize::MAX } else { HELD_BACK };
    let mut output = Output {
        answer: Some(answer),
        rest: None,
        format: String::new(),
        statistics: Statistics::default(),
        begin: Vec::new(),
        begin_bytes: 0,
        held_back,
        runtime,
        network_timeout,
    };
    match execute(engine, &request, &scope, body, &mut output) {
        Ok(()) => output.finish(),
        Err(exception) => output.fail(exception),
    }
}

fn execute(
    engine: &Engine,
    request: &Request,
    scope: &Scope,
    body: Vec<Bytes>,
    output: &mut Output,
) -> Result<(), Exception> {
    let body = match &request.content_encoding {
        Some(encoding) => vec![decompress(engine, encoding, &body)?],
        None => body,
    };
    let query = Query::compose(request.query.as_deref(), body)?;
    let default_format = request.default_format.as_deref();
    match query.statement {
        Statement::Insert { head_end, format, .. } => {
            output.format = DEFAULT_FORMAT.to_owned();
            let mut connection = engine.open(&session(request, scope, false))?;
            let format = format.as_deref().or(default_format).unwrap_or("Values");
            let head = query.text.get(..head_end).unwrap_or_default();
            output.statistics =
                connection.insert(head, format, &request.params, &query.data).map_err(Exception::from_engine)?;
            Ok(())
        }
        Statement::Other { format, streams } => {
            let default_format = default_format.unwrap_or(DEFAULT_FORMAT);
            output.format = format.unwrap_or_else(|| default_format.to_owned());
            let extremes = request.settings.iter().any(|(name, value)| name == "extremes" && value != "0");
            let joining = if streams && !extremes { joining(&output.format) } else { Joining::Whole };
            let bounded = request.waits_for_end || joining == Joining::Whole;
            let mut connection = engine.open(&session(request, scope, bounded))?;
            if *scope != Scope::Administrator {
                guard::check_statement(&query.text)?;
                if !connection.is_one_reading_statement(&query.text) {
                    let message = "Not enough privileges: this user may run one reading statement at a time";
                    return Err(Exception::new(code::ACCESS_DENIED, message));
                }
            }
            read(&mut connection, &query.text, default_format, request, joining, output)
        }
    }
}

fn session<'a>(request: &'a Request, scope: &'a Scope, bounded: bool) -> Session<'a> {
    let (database, settings) = (request.database.as_deref(), request.settings.as_slice());
    Session { scope, database, settings, reads_only: request.reads_only, bounded }
}

/// Runs a statement that is not an INSERT with rows: as a stream where its format allows it, else whole.
fn read(
    connection: &mut Connection<'_>,
    text: &[u8],
    default_format: &str,
    request: &Request,
    joining: Joining,
    output: &mut Output,
) -> Result<(), Exception> {
    if joining != Joining::Whole {
        match connection.stream(text, default_format, &request.params) {
            Ok(mut stream) => {
                let mut header: Option<Bytes> = None;
                while let Some(mut chunk) = stream.next().map_err(Exception::from_engine)? {
                    match &header {
                        Some(header) if chunk.bytes.starts_with(header) => drop(chunk.bytes.split_to(header.len())),
                        Some(_) => return Err(broken_stream()),
                        None => {
                            let length = joining.header_length(&chunk.bytes).ok_or_else(broken_stream)?;
                            header = Some(chunk.bytes.slice(..length));
                        }
                    }
                    output.push(chunk.bytes, chunk.statistics)?;
                }
                return Ok(());
            }
            Err(message) if message.contains("Streaming query is not supported") => {}
            Err(message) => return Err(Exception::from_engine(message)),
        }
    }
    let reply = connection.query(text, default_format, &request.params).map_err(Exception::from_engine)?;
    output.push(reply.bytes, reply.statistics)
}

/// A request's statement with its rows, from the URL's `query` and the body behind it.
struct Query {
    text: Bytes,
    statement: Statement,
    data: Vec<Bytes>,
}

impl Query {
    /// The body follows the `query` parameter after a line end. Where the parameter ends with an INSERT's FORMAT, that
    /// line end is the one that ends the statement, and the body is the data as it is, in the pieces it came in.
    fn compose(parameter: Option<&str>, body: Vec<Bytes>) -> Result<Self, Exception> {
        let parameter = parameter.unwrap_or_default();
        let has_body = body.iter().any(|chunk| !chunk.is_empty());
        if !parameter.trim().is_empty() {
            let text = Bytes::copy_from_slice(parameter.as_bytes());
            let statement = analyse(&text)?;
            match statement {
                Statement::Insert { format: Some(_), data_start, .. } => {
                    let in_text = text.slice(data_start..);
                    let mut data = Vec::with_capacity(body.len() + 2);
                    if !in_text.is_empty() {
                        data.extend([in_text, Bytes::from_static(b"\n")]);
                    }
                    data.extend(body);
                    return Ok(Self { text, statement, data });
                }
                _ if !has_body => {
                    return Ok(Self { text, statement, data: Vec::new() });
                }
                Statement::Insert { .. } | Statement::Other { .. } => {}
            }
        }
        let mut joined = BytesMut::with_capacity(parameter.len() + 1 + body.iter().map(Bytes::len).sum::<usize>());
        if !parameter.is_empty() {
            joined.extend_from_slice(parameter.as_bytes());
            joined.extend_from_slice(b"\n");
        }
        body.iter().for_each(|chunk| joined.extend_from_slice(chunk));
        let text = joined.freeze();
        let statement = analyse(&text)?;
        let data = match &statement {
            Statement::Insert { data_start, .. } => vec![text.slice(*data_start..)],
            Statement::Other { .. } => Vec::new(),
        };
        Ok(Self { text, statement, data })
    }
}

/// Has the engine decompress a body, which knows every encoding that ClickHouse knows, through a file.
fn decompress(engine: &Engine, encoding: &str, body: &[Bytes]) -> Result<Bytes, Exception> {
    let method = match encoding {
        "gzip" | "x-gzip" => "gzip",
        "deflate" | "br" | "xz" | "zstd" | "lz4" | "bz2" => encoding,
        other => {
            let message = format!("Unknown Content-Encoding {other}");
            return Err(Exception::new(code::NOT_IMPLEMENTED, message));
        }
    };
    let upload = Upload::write(engine, body)
        .map_err(|error| Exception::new(code::STD_EXCEPTION, format!("cannot keep a compressed body: {error}")))?;
    let administrator = Scope::Administrator;
    let session = Session { scope: &administrator, database: None, settings: &[], reads_only: true, bounded: true };
    let sql = "SELECT * FROM file({path:String}, 'RawBLOB', 'data String', {method:String})";
    let params = [("path".to_owned(), upload.path.display().to_string()), ("method".to_owned(), method.to_owned())];
    let reply = engine.open(&session)?.query(sql.as_bytes(), "RawBLOB", &params).map_err(Exception::from_engine)?;
    Ok(reply.bytes)
}

/// A file of the uploads folder, removed on drop.
struct Upload {
    path: PathBuf,
}

impl Upload {
    fn write(engine: &Engine, body: &[Bytes]) -> std::io::Result<Self> {
        let upload = Self { path: engine.uploads.join(uuid::Uuid::new_v4().to_string()) };
        let mut file = std::fs::File::create(&upload.path)?;
        for chunk in body {
            std::io::Write::write_all(&mut file, chunk)?;
        }
        Ok(upload)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // The folder is emptied at the next start if this fails.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where a result goes: held back at first, then to the client as it comes.
struct Output {
    answer: Option<oneshot::Sender<Result<Answer, Exception>>>,
    rest: Option<mpsc::Sender<Piece>>,
    format: String,
    statistics: Statistics,
    begin: Vec<Bytes>,
    begin_bytes: usize,
    held_back: usize,
    runtime: runtime::Handle,
    network_timeout: Duration,
}

impl Output {
    /// Takes the next piece. Fails when the client is gone or does not read, which ends the query.
    fn push(&mut self, bytes: Bytes, statistics: Statistics) -> Result<(), Exception> {
        self.statistics.add(statistics);
        if bytes.is_empty() {
            return Ok(());
        }
        if self.rest.is_some() {
            return self.send_piece(Piece::Rows(bytes));
        }
        if self.answer.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return Err(Exception::new(code::NETWORK_ERROR, "the client is gone"));
        }
        self.begin_bytes = self.begin_bytes.saturating_add(bytes.len());
        self.begin.push(bytes);
        if self.begin_bytes > self.held_back {
            let (rest, receiver) = mpsc::channel(2);
            self.rest = Some(rest);
            self.send_answer(Some(receiver));
        }
        Ok(())
    }

    fn send_answer(&mut self, rest: Option<mpsc::Receiver<Piece>>) {
        let Some(answer) = self.answer.take() else { return };
        let begin = std::mem::take(&mut self.begin);
        let format = self.format.clone();
        // No taker means that the client is gone, which the next push notices.
        let _ = answer.send(Ok(Answer { format, statistics: self.statistics, begin, rest }));
    }

    /// Waits for the client to take a piece: this is an engine thread, not one of the runtime's.
    fn send_piece(&self, piece: Piece) -> Result<(), Exception> {
        let Some(rest) = &self.rest else { return Ok(()) };
        let sending = async { tokio::time::timeout(self.network_timeout, rest.send(piece)).await };
        match self.runtime.block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Exception::new(code::NETWORK_ERROR, "the client does not read the result")),
        }
    }

    fn finish(mut self) {
        if self.answer.is_some() {
            self.send_answer(None);
        } else {
            // A client that is gone needs no end.
            let _ = self.send_piece(Piece::End);
        }
    }

    fn fail(mut self, exception: Exception) {
        match self.answer.take() {
            // A client that is gone needs no error.
            Some(answer) => drop(answer.send(Err(exception))),
            None => drop(self.send_piece(Piece::Failed(exception))),
        }
    }
}

fn broken_stream() -> Exception {
    Exception::new(code::STD_EXCEPTION, "a chunk of the result does not begin with its format's header")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(parameter: Option<&str>, body: &[u8]) -> Vec<u8> {
        Query::compose(parameter, vec![Bytes::copy_from_slice(body)]).unwrap().data.concat()
    }

    #[test]
    fn rows_are_the_same_bytes_wherever_the_statement_stands() {
        let rows = b"\x01\n\n;\x00\n";
        assert_eq!(data(Some("INSERT INTO t FORMAT RowBinary"), rows), rows);
        assert_eq!(data(Some("INSERT INTO t FORMAT RowBinary\n"), rows), rows);
        let whole = [b"INSERT INTO t FORMAT RowBinary\n".as_slice(), rows].concat();
        assert_eq!(data(None, &whole), rows);
        assert_eq!(data(Some("INSERT INTO t (a)"), b"FORMAT TSV\n1\n"), b"1\n");
        assert_eq!(data(Some("INSERT INTO t VALUES (1),"), b"(2)"), b" (1),\n(2)");
    }

    #[test]
    fn a_statement_may_be_split_between_parameter_and_body() {
        let query = Query::compose(Some("SELECT"), vec![Bytes::from_static(b"1")]).unwrap();
        assert_eq!(query.text.as_ref(), b"SELECT\n1");
    }
}
