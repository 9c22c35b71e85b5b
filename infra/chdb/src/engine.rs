//! The running engine: its start, what it says of itself, and sessions on it.
//!
//! Each query gets a session of its own, opened with its settings and closed behind it. That costs about a
//! millisecond and means that settings, current database, roles and temporary tables cannot leak from one query to
//! the next. One session stays open for the life of the server, because the engine stops with its last one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::access::{self, READER, Scope};
use crate::exception::{Exception, code};
use crate::ffi::{Connection, Library};
use crate::{Error, Options, guard};

/// What the engine says of itself, read once at the start.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) version: String,
    /// Content type by output format.
    pub(crate) content_types: HashMap<String, String>,
    settings: HashSet<String>,
}

/// The engine of this process. There can be one only, and it lives as long as the process: its library cannot be
/// unloaded, so sessions borrow it for ever.
pub(crate) struct Engine {
    library: &'static Library,
    path_argument: String,
    pub(crate) about: About,
    /// Where compressed request bodies are put to be decompressed.
    pub(crate) uploads: PathBuf,
    max_result_bytes: u64,
}

/// What a session is opened for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) database: Option<&'a str>,
    pub(crate) settings: &'a [(String, String)],
    pub(crate) reads_only: bool,
    /// The result is held in memory whole, so it is bounded.
    pub(crate) bounded: bool,
}

/// The session that keeps the engine running between queries.
pub(crate) struct KeepAlive {
    session: Connection<'static>,
    library: &'static Library,
}

impl Engine {
    /// Loads and starts the engine over the data folder.
    pub(crate) fn start(options: &Options) -> Result<(Self, KeepAlive), Error> {
        let library = &options.library;
        if !library.is_file() {
            return Err(Error::LibraryMissing { path: library.clone() });
        }
        let io = |source| Error::Data { path: options.data.clone(), source };
        std::fs::create_dir_all(&options.data).map_err(io)?;
        let data = options.data.canonicalize().map_err(io)?;
        refuse_if_in_use(&data)?;
        let config_file = write_configuration(options, &data)?;
        let uploads = data.join("helix-uploads");
        // What a killed process left behind.
        let _ = std::fs::remove_dir_all(&uploads);
        std::fs::create_dir_all(&uploads).map_err(io)?;

        let loaded =
            Library::load(library).map_err(|source| Error::LibraryUnusable { path: library.clone(), source })?;
        // One per process and never unloaded: leaking it is what its lifetime is.
        let library: &'static Library = Box::leak(Box::new(loaded));
        let path_argument = format!("--path={}", data.display());
        let arguments = [path_argument.clone(), format!("--config-file={}", config_file.display())];
        let mut session = library.connect(&arguments).ok_or_else(|| Error::EngineRefused { path: data.clone() })?;
        let about = About::read(&mut session)?;
        let engine = Self { library, path_argument, about, uploads, max_result_bytes: options.max_result_bytes };
        Ok((engine, KeepAlive { session, library }))
    }

    /// Opens a session in which the next statement runs as it should.
    pub(crate) fn open(&self, session: &Session<'_>) -> Result<Connection<'static>, Exception> {
        // A query that is not SQL by ClickHouse's own rules of a server must not become one by the embedded
        // engine's wish to please: `1 + 1` is a syntax error there.
        let mut settings = vec![("implicit_select", "0"), ("session_timezone", "UTC")];
        let bound = self.max_result_bytes.to_string();
        if session.bounded {
            settings.extend([("max_result_bytes", bound.as_str()), ("result_overflow_mode", "throw")]);
        }
        for (name, value) in session.settings {
            if !self.about.settings.contains(name) {
                let message = format!("Unknown setting '{name}'");
                return Err(Exception::new(code::UNKNOWN_SETTING, message));
            }
            if *session.scope != Scope::Administrator {
                guard::check_setting(name)?;
            }
            settings.push((name, value));
        }
        if session.reads_only && *session.scope == Scope::Administrator {
            settings.push(("readonly", "2"));
        }
        if let Scope::Workspace(workspace) = session.scope {
            settings.push(("log_comment", workspace));
        }
        let arguments = std::iter::once(self.path_argument.clone())
            .chain(settings.iter().map(|(name, value)| format!("--{name}={value}")))
            .collect::<Vec<_>>();
        let Some(mut connection) = self.library.connect(&arguments) else {
            return Err(self.explain_refusal(session.settings));
        };
        if let Scope::Workspace(_) = session.scope {
            execute(&mut connection, &format!("SET ROLE {READER}"))?;
        }
        if let Some(database) = session.database {
            if *session.scope != Scope::Administrator {
                guard::check_database(database)?;
            }
            execute(&mut connection, &format!("USE {}", quoted(database, '`')))?;
        }
        if let Scope::Workspace(_) = session.scope {
            execute(&mut connection, "SET readonly = 1")?;
        }
        Ok(connection)
    }

    /// Why the engine refused a session: it does not say, but a SET of the same values does.
    fn explain_refusal(&self, settings: &[(String, String)]) -> Exception {
        let unknown = || Exception::new(code::STD_EXCEPTION, "the engine refused to open a session");
        let Some(mut connection) = self.library.connect(std::slice::from_ref(&self.path_argument)) else {
            return unknown();
        };
        settings
            .iter()
            .find_map(|(name, value)| execute(&mut connection, &format!("SET {name} = {}", quoted(value, '\''))).err())
            .unwrap_or_else(unknown)
    }
}

impl KeepAlive {
    /// Closes the last session, which writes out and stops everything, then joins the engine's threads.
    pub(crate) fn stop(self) -> bool {
        let Self { session, library } = self;
        drop(session);
        library.shutdown()
    }
}

impl About {
    fn read(session: &mut Connection<'_>) -> Result<Self, Error> {
        let mut column = |sql: &str| {
            let reply = session.query(sql.as_bytes(), "TSVRaw", &[]).map_err(|message| Error::Engine { message })?;
            Ok::<_, Error>(String::from_utf8_lossy(&reply.bytes).lines().map(str::to_owned).collect::<Vec<_>>())
        };
        let zone = column("SELECT serverTimezone()")?.concat();
        if !matches!(zone.as_str(), "UTC" | "Etc/UTC" | "Universal" | "Etc/Universal" | "Zulu" | "Etc/Zulu") {
            return Err(Error::TimeZone { zone });
        }
        let version = column("SELECT version()")?.concat();
        let settings = column("SELECT name FROM system.settings")?.into_iter().collect();
        let content_types = column("SELECT name, content_type FROM system.formats WHERE is_output")?
            .iter()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect();
        Ok(Self { version, content_types, settings })
    }
}

fn execute(connection: &mut Connection<'_>, sql: &str) -> Result<(), Exception> {
    connection.query(sql.as_bytes(), "Null", &[]).map(drop).map_err(Exception::from_engine)
}

fn quoted(text: &str, quote: char) -> String {
    let mut quoted = String::from(quote);
    for character in text.chars() {
        if character == quote || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push(quote);
    quoted
}

/// The engine holds a lock on `status` in its data folder. A file left by a killed process is not locked.
fn refuse_if_in_use(data: &Path) -> Result<(), Error> {
    let path = data.join("status");
    let Ok(status) = std::fs::File::open(&path) else {
        return Ok(());
    };
    match rustix::fs::flock(&status, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { path: data.to_owned() }),
        // Unlocked by closing the file.
        _ => Ok(()),
    }
}

/// Writes the engine's configuration beside its data: limits that keep it small, and the users file.
fn write_configuration(options: &Options, data: &Path) -> Result<PathBuf, Error> {
    if let Some(access) = options.access.as_ref().filter(|access| !access::names_are_plain(access)) {
        return Err(Error::Names { access: Box::new(access.clone()) });
    }
    let users = data.join("helix-users.xml");
    let config = data.join("helix-config.xml");
    let memory = options.max_memory_bytes;
    // The path is text that we made; what XML reserves is escaped all the same.
    let users_path = users.display().to_string().replace('&', "&amp;").replace('<', "&lt;");
    let text = format!(
        "<clickhouse>\n\
         <users_config>{users_path}</users_config>\n\
         <max_server_memory_usage>{memory}</max_server_memory_usage>\n\
         <mark_cache_size>67108864</mark_cache_size>\n\
         <index_mark_cache_size>16777216</index_mark_cache_size>\n\
         <primary_index_cache_size>67108864</primary_index_cache_size>\n\
         <uncompressed_cache_size>0</uncompressed_cache_size>\n\
         <index_uncompressed_cache_size>0</index_uncompressed_cache_size>\n\
         <mmap_cache_size>64</mmap_cache_size>\n\
         <query_condition_cache_size>8388608</query_condition_cache_size>\n\
         <compiled_expression_cache_size>16777216</compiled_expression_cache_size>\n\
         <max_thread_pool_size>256</max_thread_pool_size>\n\
         <max_thread_pool_free_size>8</max_thread_pool_free_size>\n\
         <max_io_thread_pool_free_size>0</max_io_thread_pool_free_size>\n\
         <memory_worker_period_ms>1000</memory_worker_period_ms>\n\
         </clickhouse>\n"
    );
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|source| Error::Data { path: path.to_owned(), source })
    };
    write(&users, &access::users_xml(options.access.as_ref()))?;
    write(&config, &text)?;
    Ok(config)
}
