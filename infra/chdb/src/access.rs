//! Who may ask, and which rows each may see.
//!
//! The engine runs every session as its one user `default`; users made by SQL and `EXECUTE AS` are refused by it
//! (no writable user directory, impersonation disabled with no way to enable it). What it does honour is a users
//! file with roles and row policies, and that is what the tenancy here stands on:
//!
//! - `default` gets its privileges from two roles. A restricted session takes the role [`READER`] alone, which may
//!   read the listed tables and views and nothing else.
//! - Every listed table has a row policy: all rows for the role [`ADMINISTRATOR`]; for anyone else those whose
//!   workspace column equals the session's `log_comment`, which carries the workspace.
//! - The session is then set to `readonly = 1`, so that no statement can change a setting, and takes one statement
//!   only, which the engine's parser must class as reading. [`crate::guard`] refuses the few readers of files and
//!   of other sessions that privileges do not cover.
//!
//! The mapping from user to workspace is a JSON file that is read again when it changes: adding a workspace needs
//! no restart.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::exception::{Exception, code};
use crate::request::Credentials;

/// The role that sees and does everything.
pub(crate) const ADMINISTRATOR: &str = "helix_administrator";
/// The role of restricted sessions.
pub(crate) const READER: &str = "helix_reader";

/// Users beside the administrator, and what they may read.
#[derive(Debug, Clone)]
pub struct Access {
    /// A JSON array of `{"name", "password_sha256_hex", "scope"}`, where scope is `"administrator"` or
    /// `{"workspace": "…"}`. Read again when it changes; no file means no users.
    pub users: PathBuf,
    /// Tables that restricted users read, each with the column that holds the workspace.
    pub policies: Vec<RowPolicy>,
    /// Views that restricted users read, as `database.name` or `database.prefix*`. They run as their reader, so the
    /// policies of the tables under them hold.
    pub views: Vec<String>,
}

/// A table of which a restricted user sees only rows of the own workspace.
#[derive(Debug, Clone)]
pub struct RowPolicy {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// The column that holds the workspace.
    pub column: String,
}

/// What a session may see.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Administrator,
    Workspace(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    password_sha256_hex: String,
    scope: Scope,
}

/// Checks credentials against the options and the users file.
pub(crate) struct Gate {
    password: Option<String>,
    users: Option<PathBuf>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    changed_at: Option<SystemTime>,
    users: Vec<User>,
}

impl Gate {
    pub(crate) fn new(password: Option<String>, access: Option<&Access>) -> Self {
        Self { password, users: access.map(|access| access.users.clone()), loaded: Mutex::default() }
    }

    /// The scope of who asks, or why nobody may.
    pub(crate) fn admit(&self, credentials: &Credentials) -> Result<Scope, Exception> {
        let name = credentials.user.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
        let refused = || {
            let message =
                format!("{name}: Authentication failed: password is incorrect, or there is no user with such name");
            Err(Exception::new(code::AUTHENTICATION_FAILED, message))
        };
        if name == "default" {
            return match &self.password {
                Some(password) if !equal(password.as_bytes(), credentials.password.as_bytes()) => refused(),
                _ => Ok(Scope::Administrator),
            };
        }
        let given = hex::encode(Sha256::digest(credentials.password.as_bytes()));
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload(&mut loaded);
        match loaded.users.iter().find(|user| user.name == name) {
            Some(user) if equal(user.password_sha256_hex.as_bytes(), given.as_bytes()) => Ok(user.scope.clone()),
            _ => refused(),
        }
    }

    /// Reads the file again if it changed. A file that cannot be read lets nobody in.
    fn reload(&self, loaded: &mut Loaded) {
        let Some(path) = &self.users else { return };
        let changed_at = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if changed_at.is_some() && changed_at == loaded.changed_at {
            return;
        }
        let users = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        loaded.changed_at = changed_at;
        loaded.users = users.unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), error, "the users file cannot be read: only the administrator is let in");
            Vec::new()
        });
    }
}

fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// The engine's users file: one user, two roles, a policy a table.
pub(crate) fn users_xml(access: Option<&Access>) -> String {
    let mut grants = String::new();
    let mut databases = String::new();
    if let Some(access) = access {
        for policy in &access.policies {
            let RowPolicy { database, table, column } = policy;
            // Writing to a String cannot fail.
            let _ = write!(grants, "<query>GRANT SELECT, SHOW ON {database}.{table}</query>");
            let _ = write!(
                databases,
                "<{database}><{table}><filter>has(currentRoles(), '{ADMINISTRATOR}') OR {column} = getSetting('log_comment')</filter></{table}></{database}>"
            );
        }
        for view in &access.views {
            let _ = write!(grants, "<query>GRANT SELECT, SHOW ON {view}</query>");
        }
    }
    format!(
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas>\
         <roles><{ADMINISTRATOR}><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></{ADMINISTRATOR}>\
         <{READER}><grants>{grants}</grants></{READER}></roles>\
         <users><default><no_password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>\
         <grants><query>GRANT {ADMINISTRATOR}</query><query>GRANT {READER}</query></grants>\
         <databases>{databases}</databases></default></users></clickhouse>\n"
    )
}

/// Whether every name of the options is a plain identifier, so that it can stand in the users file as it is.
pub(crate) fn names_are_plain(access: &Access) -> bool {
    let plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let view = |name: &str| {
        name.split_once('.')
            .is_some_and(|(database, name)| plain(database) && plain(name.strip_suffix('*').unwrap_or(name)))
    };
    access.policies.iter().all(|policy| plain(&policy.database) && plain(&policy.table) && plain(&policy.column))
        && access.views.iter().all(|name| view(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: Some(user.to_owned()), password: password.to_owned() }
    }

    #[test]
    fn a_user_is_admitted_by_the_file_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users.json");
        let access = Access { users: users.clone(), policies: Vec::new(), views: Vec::new() };
        let gate = Gate::new(Some("root".to_owned()), Some(&access));
        assert_eq!(gate.admit(&credentials("ramaiah", "a")).unwrap_err().code(), 516);
        let hash = hex::encode(Sha256::digest(b"a"));
        let json =
            format!(r#"[{{"name":"ramaiah","password_sha256_hex":"{hash}","scope":{{"workspace":"ramaiah"}}}}]"#);
        std::fs::write(&users, json).unwrap();
        assert_eq!(gate.admit(&credentials("ramaiah", "a")), Ok(Scope::Workspace("ramaiah".to_owned())));
        assert_eq!(gate.admit(&credentials("ramaiah", "b")).unwrap_err().code(), 516);
        assert_eq!(gate.admit(&credentials("default", "")).unwrap_err().code(), 516);
        assert_eq!(gate.admit(&credentials("default", "root")), Ok(Scope::Administrator));
        std::fs::remove_file(&users).unwrap();
        assert_eq!(gate.admit(&credentials("ramaiah", "a")).unwrap_err().code(), 516);
    }

    #[test]
    fn only_plain_names_reach_the_engines_file() {
        let access = |table: &str, view: &str| Access {
            users: PathBuf::new(),
            policies: vec![RowPolicy { database: "d".into(), table: table.into(), column: "c".into() }],
            views: vec![view.to_owned()],
        };
        assert!(names_are_plain(&access("facts", "d.metric_*")));
        assert!(!names_are_plain(&access("facts TO x", "d.v")));
        assert!(!names_are_plain(&access("facts", "*.*")));
    }
}
