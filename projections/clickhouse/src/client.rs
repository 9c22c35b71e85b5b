//! One ClickHouse over HTTP: where it is, what it is asked, what its refusals say.

use std::{fmt, time::Duration};

use clickhouse::{Client, Row, RowOwned, RowRead, error::Error, query::Query};

/// No statement of ours takes longer than this, except a migration's.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the database is.
#[derive(Clone)]
pub struct Options {
    /// Base URL of the HTTP interface.
    pub url: String,
    /// The database; created if absent. A plain identifier.
    pub database: String,
    /// User; empty where the server asks for none.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url).field("database", &self.database).finish_non_exhaustive()
    }
}

/// Why ClickHouse did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClickHouseError {
    /// It cannot be reached, broke off, or did not answer in time.
    #[error("clickhouse cannot be reached")]
    Unreachable(#[source] Error),
    /// It did not answer in time: what it was asked may or may not have been done.
    #[error("clickhouse did not answer within {} s", STATEMENT_TIMEOUT.as_secs())]
    TimedOut,
    /// It refused. Its own words can quote data, so only the code and its name are kept.
    #[error("clickhouse refused {what}: {code}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// `241 MEMORY_LIMIT_EXCEEDED`, or the HTTP status.
        code: String,
    },
    /// Client and server do not understand each other: another schema, another version.
    #[error("clickhouse and this build do not agree on {what}")]
    Mismatch {
        /// What was asked.
        what: &'static str,
        /// The client's words: names of columns and types.
        #[source]
        source: Error,
    },
    /// It answered with what no build of ours would have stored.
    #[error("{what} cannot be read")]
    Unreadable {
        /// What was asked.
        what: &'static str,
    },
    /// There is no table beside the live one, or nobody finished it.
    #[error("there is no standby")]
    NoStandby,
    /// Somebody else exchanged generations meanwhile, who should not have: see what is live now.
    #[error("generations were exchanged meanwhile: see what is live now")]
    Exchanged,
    /// The configured database's name is no identifier.
    #[error("the database name must be an identifier of letters, digits and _")]
    DatabaseName,
    /// A migration that was applied has been changed since.
    #[error("migration {name} was applied with another text: migrations are only ever appended")]
    MigrationChanged {
        /// Its file.
        name: String,
    },
}

impl ClickHouseError {
    fn of(what: &'static str, error: Error) -> Self {
        // The client's enum may grow (non_exhaustive), so that a last arm is needed.
        #[allow(clippy::wildcard_enum_match_arm)]
        match error {
            Error::BadResponse(words) => Self::Refused { what, code: code_of(&words) },
            Error::TimedOut => Self::TimedOut,
            error @ (Error::Network(_) | Error::Other(_) | Error::Decompression(_)) => Self::Unreachable(error),
            source => Self::Mismatch { what, source },
        }
    }
}

/// `241 MEMORY_LIMIT_EXCEEDED` of `Code: 241. DB::Exception: … (MEMORY_LIMIT_EXCEEDED) (version …)`.
fn code_of(words: &str) -> String {
    let Some((_, rest)) = words.split_once("Code: ") else {
        return "without a code".to_owned();
    };
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let is_name = |text: &str| {
        text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let name =
        rest.rsplit('(').filter_map(|part| part.split_once(')')).map(|(name, _)| name).find(|name| is_name(name));
    format!("{number} {}", name.unwrap_or_default()).trim_end().to_owned()
}

/// The database of [`Options`], ready to be asked.
#[derive(Clone)]
pub(crate) struct Database {
    client: Client,
    name: String,
}

impl Database {
    pub(crate) fn new(options: &Options) -> Result<Self, ClickHouseError> {
        let plain = options.database.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && options.database.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !plain {
            return Err(ClickHouseError::DatabaseName);
        }
        let mut client = Client::default().with_url(&options.url);
        if !options.user.is_empty() {
            client = client.with_user(&options.user).with_password(&options.password);
        }
        Ok(Self { client, name: options.database.clone() })
    }

    /// Replaces `{database}`: every object is named with its database, so that a session's default never matters.
    pub(crate) fn sql(&self, template: &str) -> String {
        template.replace("{database}", &self.name)
    }

    /// A statement that is sent as it stands.
    pub(crate) fn query(&self, template: &str) -> Query {
        self.client.query_raw(&self.sql(template))
    }

    /// A query whose `?` are filled by `bind`. Parameters of the server's would do, but this client sends them as a
    /// multipart form, which the embedded engine's interface does not take.
    pub(crate) fn query_of(&self, template: &str) -> Query {
        self.client.query(&self.sql(template))
    }

    pub(crate) async fn fetch<T: RowOwned + RowRead>(
        &self,
        what: &'static str,
        query: Query,
    ) -> Result<Vec<T>, ClickHouseError> {
        in_time(what, query.fetch_all::<T>()).await
    }

    /// As [`Self::fetch`], of whole tables: that takes the time it takes.
    pub(crate) async fn fetch_unhurried<T: RowOwned + RowRead>(
        &self,
        what: &'static str,
        query: Query,
    ) -> Result<Vec<T>, ClickHouseError> {
        query.fetch_all::<T>().await.map_err(|error| ClickHouseError::of(what, error))
    }

    /// The answer as JSON, a line a row.
    pub(crate) async fn fetch_json(&self, what: &'static str, query: Query) -> Result<Vec<u8>, ClickHouseError> {
        let read = async { query.fetch_bytes("JSONEachRow")?.collect().await };
        Ok(in_time(what, read).await?.into())
    }

    pub(crate) async fn execute(&self, what: &'static str, query: Query) -> Result<(), ClickHouseError> {
        query.execute().await.map_err(|error| ClickHouseError::of(what, error))
    }

    /// Begins an insert of one block into a table of this database.
    pub(crate) async fn insert<T: Row>(&self, what: &'static str, table: &str) -> Result<Insert<T>, ClickHouseError> {
        let table = format!("{}.{table}", self.name);
        let insert = in_time(what, self.client.insert_unescaped::<T>(&table)).await?;
        // Synchronous, and never cut: neither by rows nor by bytes (0: no bound).
        let insert = insert
            .with_timeouts(Some(STATEMENT_TIMEOUT), Some(STATEMENT_TIMEOUT))
            .with_setting("async_insert", "0")
            .with_setting("max_insert_block_size", MAX_BLOCK_ROWS)
            .with_setting("min_insert_block_size_rows", MAX_BLOCK_ROWS)
            .with_setting("min_insert_block_size_bytes", "0");
        Ok(Insert { what, insert })
    }
}

/// Far above any batch of the engine: a batch is one block.
const MAX_BLOCK_ROWS: &str = "100000000";

/// One block on its way.
pub(crate) struct Insert<T> {
    what: &'static str,
    insert: clickhouse::insert::Insert<T>,
}

impl<T: Row> Insert<T> {
    /// A block with a token that ClickHouse has seen before is dropped by it.
    pub(crate) fn once(mut self, token: &str) -> Self {
        self.insert =
            self.insert.with_setting("insert_deduplicate", "1").with_setting("insert_deduplication_token", token);
        self
    }

    pub(crate) async fn write(&mut self, row: &T::Value<'_>) -> Result<(), ClickHouseError>
    where
        T: clickhouse::RowWrite,
    {
        self.insert.write(row).await.map_err(|error| ClickHouseError::of(self.what, error))
    }

    /// Sends the end; back when ClickHouse has stored the block.
    pub(crate) async fn end(self) -> Result<(), ClickHouseError> {
        self.insert.end().await.map_err(|error| ClickHouseError::of(self.what, error))
    }
}

async fn in_time<T>(what: &'static str, work: impl Future<Output = Result<T, Error>>) -> Result<T, ClickHouseError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => done.map_err(|error| ClickHouseError::of(what, error)),
        Err(_) => Err(ClickHouseError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_code_and_drops_the_words() {
        let words = "Code: 27. DB::Exception: Cannot parse '919000000001' (at row 1). (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.7.2.1)";
        assert_eq!(code_of(words), "27 CANNOT_PARSE_INPUT_ASSERTION_FAILED");
        assert_eq!(code_of("<html>502</html>"), "without a code");
    }

    #[test]
    fn a_database_name_is_an_identifier() {
        let options = |database: &str| Options {
            url: "http://127.0.0.1:1".to_owned(),
            database: database.to_owned(),
            user: String::new(),
            password: String::new(),
        };
        assert!(Database::new(&options("helix_2")).is_ok());
        for bad in ["", "2x", "a.b", "a`b", "a b"] {
            assert!(matches!(Database::new(&options(bad)), Err(ClickHouseError::DatabaseName)), "{bad:?}");
        }
    }
}
