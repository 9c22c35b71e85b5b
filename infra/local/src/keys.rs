//! Ed25519 keys that sign tokens, their public key set, and the tokens of dev.env.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding},
};
use helix_kit::auth::{Role, Signer, sidecar_kid};
use serde_json::{Value, json};

use crate::{error::Error, files, home::Home, workspaces::Workspace};

/// Issuer of every token of the local stack.
pub(crate) const ISSUER: &str = "helix";
/// The key that signs the tokens of dev.env. It may sign for every workspace.
pub(crate) const PLATFORM_KID: &str = "platform";
/// How long a token of dev.env holds. Each `up` issues new ones.
const TOKEN_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

fn fault(error: impl std::fmt::Display) -> Error {
    Error::Secret(error.to_string())
}

fn path_of(home: &Home, kid: &str) -> PathBuf {
    home.secrets().join(format!("{kid}.ed25519.pem"))
}

/// The PKCS#8 PEM file of that key, made where it is missing.
pub(crate) fn ensure(home: &Home, kid: &str) -> Result<PathBuf, Error> {
    let path = path_of(home, kid);
    if path.is_file() {
        return Ok(path);
    }
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed).map_err(fault)?;
    let pem = SigningKey::from_bytes(&seed).to_pkcs8_pem(LineEnding::LF).map_err(fault)?;
    files::write(&path, &pem, files::PRIVATE)?;
    Ok(path)
}

fn public(path: &Path, kid: &str, workspace: Option<&str>) -> Result<Value, Error> {
    let pem = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let key = SigningKey::from_pkcs8_pem(&pem).map_err(fault)?;
    let mut entry = json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()),
    });
    if let Some(workspace) = workspace {
        // The verifier lets such a key sign for this workspace only.
        entry["helix_workspace"] = Value::from(workspace);
    }
    Ok(entry)
}

/// Writes the public key set of the platform's key and of every sidecar's.
pub(crate) fn write_key_set(home: &Home, workspaces: &[Workspace]) -> Result<PathBuf, Error> {
    let mut keys = vec![public(&path_of(home, PLATFORM_KID), PLATFORM_KID, None)?];
    for workspace in workspaces {
        let kid = sidecar_kid(&workspace.slug);
        keys.push(public(&path_of(home, &kid), &kid, Some(&workspace.slug))?);
    }
    let path = home.secrets().join("jwks.json");
    let text = serde_json::to_string_pretty(&json!({ "keys": keys })).map_err(fault)?;
    files::write(&path, &text, files::PRIVATE)?;
    Ok(path)
}

/// A new token of the platform's key for each role in a workspace, in the order of [`Role::ALL`].
pub(crate) fn tokens(platform_key: &Path, workspace: &Workspace) -> Result<Vec<(Role, String)>, Error> {
    let signer = Signer::from_file(ISSUER, PLATFORM_KID, platform_key).map_err(fault)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(fault)?.as_secs();
    let now = i64::try_from(now).map_err(fault)?;
    let agent = workspace.agents.first().map(String::as_str);
    Role::ALL
        .into_iter()
        .map(|role| {
            let person = format!("{}@{}.demo", role.as_str(), workspace.slug);
            let agent_id = agent.filter(|_| role == Role::Agent);
            let token = signer.sign(&person, &workspace.slug, role, agent_id, now, TOKEN_LIFETIME).map_err(fault)?;
            Ok((role, token))
        })
        .collect()
}
