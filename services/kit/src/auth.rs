//! Tokens: who is asking, for which workspace, in which role.
//!
//! Tokens are JWTs signed with Ed25519 (or RS256/ES256 by the platform's issuer). A key set lists the public keys; a
//! key that carries `helix_workspace` may sign for that workspace only, so that one hospital's sidecar cannot mint
//! another's token.

use std::{collections::BTreeMap, path::Path, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, jwk::Jwk};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a person may do (contract.md, Sidecar).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything in the workspace.
    Admin,
    /// The workspace.
    Supervisor,
    /// Read only, without caller numbers.
    Analyst,
    /// Read only, with replay.
    Auditor,
    /// Only what is its own.
    Agent,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Supervisor, Self::Analyst, Self::Auditor, Self::Agent];

    /// The word in tokens and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Supervisor => "supervisor",
            Self::Analyst => "analyst",
            Self::Auditor => "auditor",
            Self::Agent => "agent",
        }
    }

    /// Whether this role sees caller numbers unmasked.
    #[must_use]
    pub const fn sees_callers(self) -> bool {
        matches!(self, Self::Admin | Self::Supervisor)
    }
}

/// The claims of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Who.
    pub sub: String,
    /// For which hospital.
    pub workspace: String,
    /// In which role.
    pub role: Role,
    /// Which agent this person is, for role `agent`.
    #[serde(rename = "agentId", default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expires at, Unix seconds.
    pub exp: i64,
}

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The key set cannot be read.
    #[error("the key set {path} cannot be read: {reason}")]
    KeySet {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
    /// The signing key cannot be read.
    #[error("the signing key {path} cannot be read: {reason}")]
    SigningKey {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
    /// The token is malformed, expired, of another issuer, or signed by a key we do not hold.
    #[error("the token is not valid: {0}")]
    Token(String),
    /// The key may not sign for the workspace that the token names.
    #[error("the token's key may not sign for its workspace")]
    KeyScope,
}

struct Key {
    decoding: DecodingKey,
    algorithm: Algorithm,
    workspace: Option<String>,
}

/// Every public key that may sign a token, by `kid`.
pub struct Verifier {
    issuer: String,
    keys: BTreeMap<String, Key>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("kids", &self.keys.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Reads a JWKS file.
    ///
    /// # Errors
    /// [`AuthError::KeySet`].
    pub fn from_file(issuer: &str, path: &Path) -> Result<Self, AuthError> {
        let fault = |reason: String| AuthError::KeySet { path: path.display().to_string(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        Self::from_json(issuer, &text).map_err(fault)
    }

    /// Reads a JWKS text.
    ///
    /// # Errors
    /// The reason, as text.
    pub fn from_json(issuer: &str, text: &str) -> Result<Self, String> {
        let set: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let list = set.get("keys").and_then(Value::as_array).ok_or("it has no keys")?;
        let mut keys = BTreeMap::new();
        for entry in list {
            let workspace = entry.get("helix_workspace").and_then(Value::as_str).map(str::to_owned);
            let jwk: Jwk = serde_json::from_value(entry.clone()).map_err(|error| error.to_string())?;
            let kid = jwk.common.key_id.clone().ok_or("a key has no kid")?;
            let algorithm = match entry.get("alg").and_then(Value::as_str) {
                Some("EdDSA") => Algorithm::EdDSA,
                Some("RS256") => Algorithm::RS256,
                Some("ES256") => Algorithm::ES256,
                other => return Err(format!("key {kid} has alg {other:?}; EdDSA, RS256 and ES256 are taken")),
            };
            let decoding = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
            keys.insert(kid, Key { decoding, algorithm, workspace });
        }
        Ok(Self { issuer: issuer.to_owned(), keys })
    }

    /// Checks a token and gives its claims. Whether its workspace is the one that is asked is the caller's check
    /// (403, not 401).
    ///
    /// # Errors
    /// [`AuthError::Token`] and [`AuthError::KeyScope`].
    pub fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        let fault = |error: jsonwebtoken::errors::Error| AuthError::Token(error.to_string());
        let header = jsonwebtoken::decode_header(token).map_err(fault)?;
        let kid = header.kid.ok_or_else(|| AuthError::Token("it names no key".to_owned()))?;
        let key = self.keys.get(&kid).ok_or_else(|| AuthError::Token("its key is not known".to_owned()))?;
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation).map_err(fault)?.claims;
        match &key.workspace {
            Some(scope) if *scope != claims.workspace => Err(AuthError::KeyScope),
            Some(_) | None => Ok(claims),
        }
    }
}

/// Signs tokens with one Ed25519 key.
pub struct Signer {
    issuer: String,
    kid: String,
    key: EncodingKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads a PKCS#8 PEM. `kid` must be the one in the key set.
    ///
    /// # Errors
    /// [`AuthError::SigningKey`].
    pub fn from_file(issuer: &str, kid: &str, path: &Path) -> Result<Self, AuthError> {
        let fault = |reason: String| AuthError::SigningKey { path: path.display().to_string(), reason };
        let pem = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
        let key = EncodingKey::from_ed_pem(&pem).map_err(|error| fault(error.to_string()))?;
        Ok(Self { issuer: issuer.to_owned(), kid: kid.to_owned(), key })
    }

    /// A signed token for `lifetime` from `now` (Unix seconds).
    ///
    /// # Errors
    /// [`AuthError::Token`] where signing fails.
    pub fn sign(
        &self,
        sub: &str,
        workspace: &str,
        role: Role,
        agent_id: Option<&str>,
        now: i64,
        lifetime: Duration,
    ) -> Result<String, AuthError> {
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: sub.to_owned(),
            workspace: workspace.to_owned(),
            role,
            agent_id: agent_id.map(str::to_owned),
            iat: now,
            exp: now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)),
        };
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|error| AuthError::Token(error.to_string()))
    }
}

/// The key id of a workspace's sidecar.
#[must_use]
pub fn sidecar_kid(workspace: &str) -> String {
    format!("sidecar-{workspace}")
}
