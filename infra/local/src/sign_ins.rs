//! The demo users of a workspace: one of each role, with a generated password.
//!
//! Hashing a password is slow on purpose, so the hash is made once and kept beside the password.

use argon2::{Argon2, PasswordHasher as _};
use helix_kit::{auth::Role, secret::Secret};
use serde::{Deserialize, Serialize};

use crate::{error::Error, files, home::Home, workspaces::Workspace};

/// One person who may sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignIn {
    /// Sign-in name.
    pub email: String,
    /// In clear, for the terminal and the tests of the local stack.
    pub password: Secret,
    /// Argon2id in PHC form, for the services.
    pub password_hash: Secret,
    /// What the person may do.
    pub role: Role,
    /// Which agent the person is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// The users of a workspace, from `secrets/sign-ins/<slug>.json`, made where they are missing.
pub(crate) fn ensure(home: &Home, workspace: &Workspace) -> Result<Vec<SignIn>, Error> {
    let folder = home.secrets().join("sign-ins");
    files::folder(&folder, 0o700)?;
    let path = folder.join(format!("{}.json", workspace.slug));
    if let Some(text) = files::read(&path)? {
        let found = serde_json::from_str(&text);
        return found.map_err(|error| Error::file("understand", &path)(std::io::Error::other(error)));
    }
    let users = Role::ALL.into_iter().map(|role| make(workspace, role)).collect::<Result<Vec<_>, _>>()?;
    let text = serde_json::to_string_pretty(&users).map_err(|error| Error::Secret(error.to_string()))?;
    files::write(&path, &text, files::PRIVATE)?;
    Ok(users)
}

fn make(workspace: &Workspace, role: Role) -> Result<SignIn, Error> {
    // Short enough to type, long enough (80 bits) not to guess.
    let mut random = [0_u8; 10];
    getrandom::fill(&mut random).map_err(|error| Error::Secret(error.to_string()))?;
    let password = hex::encode(random);
    let hash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|error| Error::Secret(error.to_string()))?;
    Ok(SignIn {
        email: format!("{}@{}.demo", role.as_str(), workspace.slug),
        password: Secret::new(password),
        password_hash: Secret::new(hash.to_string()),
        role,
        agent: workspace.agents.first().filter(|_| role == Role::Agent).cloned(),
    })
}
