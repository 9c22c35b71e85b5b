//! Secrets of a local stack: generated once, one file of mode 0600 each, in a folder of mode 0700.
//!
//! What is there is kept, so that a restart changes nothing for clients; what is missing is made. Deleting a file and
//! starting again rotates that secret.

use std::{collections::BTreeMap, path::PathBuf};

use helix_kit::secret::Secret;

use crate::{
    error::Error,
    files,
    home::Home,
    keys,
    sign_ins::{self, SignIn},
    workspaces::Workspace,
};

/// Everything secret that the stack needs.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The provider account's key for webhooks.
    pub ingest_key: Secret,
    /// Password of the Postgres superuser `helix_admin`.
    pub postgres_admin: Secret,
    /// Password of the Postgres role `helix`, which owns the read models.
    pub postgres_owner: Secret,
    /// Password of the telephony core's Redis.
    pub redis_telephony: Secret,
    /// By workspace.
    pub workspaces: BTreeMap<String, WorkspaceSecrets>,
    /// The public keys that may sign a token.
    pub jwks: PathBuf,
    /// The key behind the `HELIX_TOKEN_*` tokens.
    pub platform_key: PathBuf,
}

/// What one workspace keeps from all others.
#[derive(Debug, Clone)]
pub struct WorkspaceSecrets {
    /// Key of its callbacks.
    pub webhook_key: Secret,
    /// Key of its sidecar for the directory.
    pub register_key: Secret,
    /// Password of its Redis.
    pub redis: Secret,
    /// Password of its ClickHouse user, which is called as the workspace.
    pub clickhouse: Secret,
    /// Password of its Postgres role.
    pub postgres: Secret,
    /// The key that signs its sidecar's tokens.
    pub signing_key: PathBuf,
    /// The people who may sign in.
    pub users: Vec<SignIn>,
}

impl Secrets {
    /// Reads what the home has and makes what it lacks.
    ///
    /// # Errors
    /// Where a file cannot be read or written, or the system has no randomness.
    pub fn ensure(home: &Home, workspaces: &[Workspace]) -> Result<Self, Error> {
        files::folder(&home.secrets(), 0o700)?;
        let key = |name: &str| kept(home, name);
        let platform_key = keys::ensure(home, "platform")?;
        let mut by_workspace = BTreeMap::new();
        for workspace in workspaces {
            let slug = &workspace.slug;
            let secrets = WorkspaceSecrets {
                webhook_key: key(&format!("webhook-{slug}.key"))?,
                register_key: key(&format!("register-{slug}.key"))?,
                redis: key(&format!("redis-{slug}.password"))?,
                clickhouse: key(&format!("clickhouse-{slug}.password"))?,
                postgres: key(&format!("postgres-{slug}.password"))?,
                signing_key: keys::ensure(home, &helix_kit::auth::sidecar_kid(slug))?,
                users: sign_ins::ensure(home, workspace)?,
            };
            by_workspace.insert(slug.clone(), secrets);
        }
        Ok(Self {
            ingest_key: key("ingest.key")?,
            postgres_admin: key("postgres-admin.password")?,
            postgres_owner: key("postgres-owner.password")?,
            redis_telephony: key("redis-telephony.password")?,
            workspaces: by_workspace,
            jwks: keys::write_key_set(home, workspaces)?,
            platform_key,
        })
    }
}

/// The secret in that file of the home, made where it is missing or empty.
pub(crate) fn kept(home: &Home, name: &str) -> Result<Secret, Error> {
    let path = home.secrets().join(name);
    if let Some(text) = files::read(&path)?
        && !text.trim().is_empty()
    {
        return Ok(Secret::new(text.trim()));
    }
    let secret = Secret::generate().map_err(|error| Error::Secret(error.to_string()))?;
    files::write(&path, &format!("{}\n", secret.reveal()), files::PRIVATE)?;
    Ok(secret)
}
