//! The C interface of `libchdb.so`, and nothing else: the only file of the whole repository that may use `unsafe`.
//!
//! What it keeps true for its callers: a handle is freed exactly once and never outlives what it came from; one
//! connection is used by one thread at a time (`Connection` is `Send`, not `Sync`); bytes that leave this file are
//! copies. The library is never unloaded, because its background threads run until the process ends.
//!
//! Rows are always sent by the streaming insert. The other way, putting the rows behind the statement in one query
//! text, ends the statement at the first blank line: two bytes `0A 0A` inside RowBinary lose every row after them.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::Path;

use bytes::Bytes;

type RawResult = *mut c_void;
type RawConnection = *mut c_void;
type RawInsert = *mut c_void;

/// The entry points that are used, resolved once.
struct Symbols {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut RawConnection,
    close: unsafe extern "C" fn(*mut RawConnection),
    shutdown: unsafe extern "C" fn() -> c_int,
    query: QueryWithParams,
    stream: QueryWithParams,
    fetch: unsafe extern "C" fn(RawConnection, RawResult) -> RawResult,
    cancel: unsafe extern "C" fn(RawConnection, RawResult),
    destroy: unsafe extern "C" fn(RawResult),
    insert: QueryWithParams,
    append: unsafe extern "C" fn(RawInsert, *const c_void, usize) -> c_int,
    done: unsafe extern "C" fn(RawInsert) -> RawResult,
    insert_error: unsafe extern "C" fn(RawInsert) -> *const c_char,
    destroy_insert: unsafe extern "C" fn(RawInsert),
    buffer: unsafe extern "C" fn(RawResult) -> *const c_char,
    length: unsafe extern "C" fn(RawResult) -> usize,
    error: unsafe extern "C" fn(RawResult) -> *const c_char,
    result_rows: unsafe extern "C" fn(RawResult) -> u64,
    result_bytes: unsafe extern "C" fn(RawResult) -> u64,
    read_rows: unsafe extern "C" fn(RawResult) -> u64,
    read_bytes: unsafe extern "C" fn(RawResult) -> u64,
    written_rows: unsafe extern "C" fn(RawResult) -> u64,
    written_bytes: unsafe extern "C" fn(RawResult) -> u64,
    classify: unsafe extern "C" fn(RawConnection, *const c_char, usize, *const c_char, usize, *mut Analysis) -> c_int,
}

/// The shape that the query, the streaming query and the streaming insert share: statement, format, parameters.
type QueryWithParams = unsafe extern "C" fn(
    RawConnection,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> RawResult;

/// `chdb_query_analysis_v1`.
#[repr(C)]
struct Analysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

/// `CHDB_QUERY_READ_ONLY`.
const CLASS_READ_ONLY: u32 = 0;
/// `CHDBSuccess`.
const SUCCESS: c_int = 0;

/// The loaded library.
pub(crate) struct Library {
    symbols: Symbols,
}

/// Rows and bytes that a query produced, read and wrote.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Statistics {
    pub(crate) result_rows: u64,
    pub(crate) result_bytes: u64,
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
}

impl Statistics {
    /// Adds what a further chunk of the same query says.
    pub(crate) fn add(&mut self, other: Self) {
        self.result_rows += other.result_rows;
        self.result_bytes += other.result_bytes;
        self.read_rows += other.read_rows;
        self.read_bytes += other.read_bytes;
        self.written_rows += other.written_rows;
        self.written_bytes += other.written_bytes;
    }
}

/// Formatted bytes and what they cost.
pub(crate) struct Reply {
    pub(crate) bytes: Bytes,
    pub(crate) statistics: Statistics,
}

/// Parameters of a query, `{name:Type}`, as name and text.
pub(crate) type Params = [(String, String)];

impl Library {
    /// Loads the library and resolves every symbol that is used. The engine itself starts with the first connection.
    pub(crate) fn load(path: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: loading runs the library's initialisers; it is the pinned engine, built to be loaded this way.
        let library = unsafe { libloading::Library::new(path)? };
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the type at the use is the one that the engine's header declares for this name.
                *unsafe { library.get(concat!($name, "\0").as_bytes())? }
            };
        }
        let signal_handlers: unsafe extern "C" fn(c_int) = symbol!("chdb_set_signal_handlers_enabled");
        let symbols = Symbols {
            connect: symbol!("chdb_connect"),
            close: symbol!("chdb_close_conn"),
            shutdown: symbol!("chdb_shutdown"),
            query: symbol!("chdb_query_with_params_n"),
            stream: symbol!("chdb_stream_query_with_params_n"),
            fetch: symbol!("chdb_stream_fetch_result"),
            cancel: symbol!("chdb_stream_cancel_query"),
            destroy: symbol!("chdb_destroy_query_result"),
            insert: symbol!("chdb_stream_insert_with_params_n"),
            append: symbol!("chdb_stream_append"),
            done: symbol!("chdb_stream_done"),
            insert_error: symbol!("chdb_stream_insert_error"),
            destroy_insert: symbol!("chdb_destroy_insert_stream"),
            buffer: symbol!("chdb_result_buffer"),
            length: symbol!("chdb_result_length"),
            error: symbol!("chdb_result_error"),
            result_rows: symbol!("chdb_result_rows_read"),
            result_bytes: symbol!("chdb_result_bytes_read"),
            read_rows: symbol!("chdb_result_storage_rows_read"),
            read_bytes: symbol!("chdb_result_storage_bytes_read"),
            written_rows: symbol!("chdb_result_rows_written"),
            written_bytes: symbol!("chdb_result_bytes_written"),
            classify: symbol!("chdb_classify_query_n"),
        };
        // SAFETY: called before the first connection, as the header asks. Signals stay with the embedding process,
        // whose runtime waits for SIGTERM itself.
        unsafe { signal_handlers(0) };
        // The symbols are plain addresses inside the library, so it must stay mapped; its threads need it too.
        std::mem::forget(library);
        Ok(Self { symbols })
    }

    /// Opens a session. The first one of a process starts the engine with these arguments; later ones take only
    /// the settings among them. `None` when the engine refuses, which it explains to nobody.
    pub(crate) fn connect(&self, arguments: &[String]) -> Option<Connection<'_>> {
        let owned = std::iter::once("chdb")
            .chain(arguments.iter().map(String::as_str))
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .ok()?;
        let mut pointers = owned.iter().map(|argument| argument.as_ptr().cast_mut()).collect::<Vec<_>>();
        let count = c_int::try_from(pointers.len()).ok()?;
        // SAFETY: `count` NUL-terminated strings that live until the call returns; the engine copies them.
        let handle = unsafe { (self.symbols.connect)(count, pointers.as_mut_ptr()) };
        if handle.is_null() {
            return None;
        }
        Some(Connection { library: self, handle, one_thread_at_a_time: PhantomData })
    }

    /// Stops the engine's threads. Every connection must be closed. Nothing can be opened afterwards.
    pub(crate) fn shutdown(&self) -> bool {
        // SAFETY: no arguments; with a connection still open it does nothing and says so.
        unsafe { (self.symbols.shutdown)() == SUCCESS }
    }

    /// Copies a result out and frees it.
    fn take(&self, result: RawResult) -> Result<Reply, String> {
        let symbols = &self.symbols;
        if result.is_null() {
            return Err("Code: 1001. DB::Exception: the engine gave no result. (STD_EXCEPTION)".to_owned());
        }
        // SAFETY: `result` is a live result handle; the error is a NUL-terminated text or null, the buffer holds
        // `length` bytes, and both are copied before the handle is destroyed, once, here.
        unsafe {
            let error = text((symbols.error)(result));
            let reply = match error {
                Some(message) => Err(message),
                None => {
                    let (buffer, length) = ((symbols.buffer)(result), (symbols.length)(result));
                    let bytes = if buffer.is_null() || length == 0 {
                        Bytes::new()
                    } else {
                        Bytes::copy_from_slice(std::slice::from_raw_parts(buffer.cast::<u8>(), length))
                    };
                    let statistics = Statistics {
                        result_rows: (symbols.result_rows)(result),
                        result_bytes: (symbols.result_bytes)(result),
                        read_rows: (symbols.read_rows)(result),
                        read_bytes: (symbols.read_bytes)(result),
                        written_rows: (symbols.written_rows)(result),
                        written_bytes: (symbols.written_bytes)(result),
                    };
                    Ok(Reply { bytes, statistics })
                }
            };
            (symbols.destroy)(result);
            reply
        }
    }
}

/// One session of the engine: its own settings, current database, roles. Closed on drop.
pub(crate) struct Connection<'a> {
    library: &'a Library,
    handle: *mut RawConnection,
    /// Not `Sync`: the engine runs one statement of a connection at a time.
    one_thread_at_a_time: PhantomData<std::cell::Cell<()>>,
}

// SAFETY: the engine ties nothing of a connection to the thread that opened it; it asks only that calls on one
// connection do not overlap, which `!Sync` and `&mut` below give.
unsafe impl Send for Connection<'_> {}

impl Connection<'_> {
    fn raw(&self) -> RawConnection {
        // SAFETY: `handle` came from `connect`, is not null and is closed only in `drop`.
        unsafe { *self.handle }
    }

    /// Runs one statement and returns its whole result.
    pub(crate) fn query(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<Reply, String> {
        let result = call(self.library.symbols.query, self.raw(), sql, format, params);
        self.library.take(result)
    }

    /// Starts a query whose result is fetched in chunks. The engine refuses statements that are not queries.
    pub(crate) fn stream<'c>(&'c mut self, sql: &[u8], format: &str, params: &Params) -> Result<Stream<'c>, String> {
        let handle = call(self.library.symbols.stream, self.raw(), sql, format, params);
        let mut stream =
            Stream { library: self.library, connection: self.raw(), handle, open: false, lent: PhantomData };
        if handle.is_null() {
            return Err("Code: 1001. DB::Exception: the engine gave no stream. (STD_EXCEPTION)".to_owned());
        }
        // SAFETY: `handle` is a live result handle, owned by `stream`, which frees it in `drop`.
        match unsafe { text((self.library.symbols.error)(handle)) } {
            Some(message) => Err(message),
            None => {
                stream.open = true;
                Ok(stream)
            }
        }
    }

    /// Inserts `data` in `format` by `head`, an INSERT without its FORMAT clause. All of it or an error.
    pub(crate) fn insert(
        &mut self,
        head: &[u8],
        format: &str,
        params: &Params,
        data: &[Bytes],
    ) -> Result<Statistics, String> {
        let symbols = &self.library.symbols;
        let handle = call(symbols.insert, self.raw(), head, format, params);
        if handle.is_null() {
            return Err("Code: 1001. DB::Exception: the engine gave no insert stream. (STD_EXCEPTION)".to_owned());
        }
        let guard = InsertGuard { symbols, handle };
        // SAFETY: `handle` is live until `guard` drops; texts are copied at once; the engine copies appended bytes
        // before `append` returns; `done` is called once, and its result is taken, so freed, once.
        unsafe {
            if let Some(message) = text((symbols.insert_error)(guard.handle)) {
                return Err(message);
            }
            for chunk in data.iter().filter(|chunk| !chunk.is_empty()) {
                // A refused chunk means that the insert has failed already; `done` says why.
                if (symbols.append)(guard.handle, chunk.as_ptr().cast(), chunk.len()) != SUCCESS {
                    break;
                }
            }
            self.library.take((symbols.done)(guard.handle)).map(|reply| reply.statistics)
        }
    }

    /// Whether the text is exactly one statement that changes nothing and writes nowhere, by the engine's parser.
    pub(crate) fn is_one_reading_statement(&mut self, sql: &[u8]) -> bool {
        // 16 bytes: the size cannot be out of range.
        let struct_size = size_of::<Analysis>() as u32;
        let mut analysis = Analysis { struct_size, statement_count: 0, flags: 0, query_class: u32::MAX };
        // SAFETY: `sql` with its length, no target database, and a report whose size is stated in it.
        let state = unsafe {
            (self.library.symbols.classify)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                std::ptr::null(),
                0,
                &raw mut analysis,
            )
        };
        state == SUCCESS && analysis.statement_count == 1 && analysis.query_class == CLASS_READ_ONLY
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // SAFETY: opened by `connect`, closed only here; streams and inserts borrow it mutably, so none is left.
        unsafe { (self.library.symbols.close)(self.handle) };
    }
}

/// A query whose result is fetched in chunks. Cancelled on drop unless it reached its end.
pub(crate) struct Stream<'c> {
    library: &'c Library,
    connection: RawConnection,
    handle: RawResult,
    open: bool,
    lent: PhantomData<&'c mut ()>,
}

impl Stream<'_> {
    /// The next chunk, formatted on its own (with the format's header, where it has one), or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, String> {
        if !self.open {
            return Ok(None);
        }
        // SAFETY: connection and stream are live and used by this thread only; the chunk is freed by `take`.
        let chunk = self.library.take(unsafe { (self.library.symbols.fetch)(self.connection, self.handle) });
        match chunk {
            Ok(reply) if reply.bytes.is_empty() => {
                self.open = false;
                Ok(None)
            }
            Ok(reply) => Ok(Some(reply)),
            Err(message) => {
                self.open = false;
                Err(message)
            }
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        // SAFETY: the connection outlives the stream by its lifetime; cancelled only while unfinished, freed once.
        unsafe {
            if self.open {
                (self.library.symbols.cancel)(self.connection, self.handle);
            }
            (self.library.symbols.destroy)(self.handle);
        }
    }
}

/// Frees an insert stream on every way out; the engine cancels it first if it was not finished.
struct InsertGuard<'a> {
    symbols: &'a Symbols,
    handle: RawInsert,
}

impl Drop for InsertGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: created by the insert call of this guard's maker and freed only here.
        unsafe { (self.symbols.destroy_insert)(self.handle) };
    }
}

fn call(function: QueryWithParams, connection: RawConnection, sql: &[u8], format: &str, params: &Params) -> RawResult {
    let names = params.iter().map(|(name, _)| name.as_ptr().cast()).collect::<Vec<*const c_char>>();
    let name_lengths = params.iter().map(|(name, _)| name.len()).collect::<Vec<_>>();
    let values = params.iter().map(|(_, value)| value.as_ptr().cast()).collect::<Vec<*const c_char>>();
    let value_lengths = params.iter().map(|(_, value)| value.len()).collect::<Vec<_>>();
    // SAFETY: pointers with their lengths, all borrowed for the length of the call; the engine copies what it keeps.
    unsafe {
        function(
            connection,
            sql.as_ptr().cast(),
            sql.len(),
            format.as_ptr().cast(),
            format.len(),
            names.as_ptr(),
            name_lengths.as_ptr(),
            values.as_ptr(),
            value_lengths.as_ptr(),
            params.len(),
        )
    }
}

/// Copies a NUL-terminated text; null and empty are `None`.
///
/// # Safety
/// `pointer` is null or points to a NUL-terminated text that lives until this returns.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: as this function's own contract.
    let text = unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}
