//! What can go wrong with the database, and which of it is a batch's own fault.

use helix_runtime::StoreError;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// It does not answer, or refused.
    #[error("postgres: {0}")]
    Sql(#[from] sqlx::Error),
    /// Its schema is not what this build expects.
    #[error("postgres migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The thread that folded did not come to its end.
    #[error("a fold was interrupted")]
    Fold(#[from] tokio::task::JoinError),
    /// A stored value is none that this build writes.
    #[error("{table} holds a value that cannot be read: {reason}")]
    Stored {
        /// The table.
        table: &'static str,
        /// What is wrong, without values.
        reason: String,
    },
}

impl PostgresError {
    /// What the session's own timeouts end: a statement (57014), or a transaction in which the fold took its time (25P03).
    fn took_too_long(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("57014" | "25P03"))
    }

    /// What Postgres refuses for what it is, however often it is asked: data exceptions (class 22, as a NUL in a text),
    /// broken constraints (class 23), and values that are longer than an index takes (54000). The code and what it concerns;
    /// never the message, which may hold values.
    fn refusal(&self) -> Option<String> {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return None };
        let code = error.code()?;
        let of_data = code.starts_with("22") || code.starts_with("23") || code == "54000";
        of_data.then(|| match error.constraint().or_else(|| error.table()) {
            Some(place) => format!("postgres refuses it: sqlstate {code} at {place}"),
            None => format!("postgres refuses it: sqlstate {code}"),
        })
    }
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        match error.refusal() {
            Some(reason) => Self::Refused { reason },
            None if error.took_too_long() => Self::too_long(error),
            None => Self::unavailable(error),
        }
    }
}
