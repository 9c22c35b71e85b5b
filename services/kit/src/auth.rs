//! Tokens: who is asking, for which workspace, in which role.
//!
//! Tokens are JWTs signed with Ed25519 (or RS256/ES256 by the platform's issuer). A key set lists the public keys; a
//! key that carries `helix_workspace` may sign for that workspace only, so that one hospital's sidecar cannot mint
//! another's token.
//!
//! There are two sets: our own, a file that is read once and must be right to the last key, and that of the platform's
//! issuer, which whoever fetches it replaces as a whole ([`Verifier::trust_platform`]). What is in that set and is no
//! public key of ours to verify with is passed over, and none of its keys takes the place of one of our own. Each key
//! verifies by one algorithm, whatever a token says of itself.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::Path,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm},
};
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
    /// Expires at, Unix seconds. Of a verified token: until when it is taken here.
    pub exp: i64,
    /// When the person signed in, Unix seconds, where a token was renewed since (OpenID Connect Core, 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// Whether the key that verified it is of our own set.
    #[serde(skip)]
    pub is_own: bool,
}

/// Whom a token speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Who.
    pub sub: &'a str,
    /// Of which hospital.
    pub workspace: &'a str,
    /// In which role.
    pub role: Role,
    /// Which agent, for role `agent`.
    pub agent_id: Option<&'a str>,
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
    /// The token names a key that neither set holds: it may be one that the platform's issuer made since.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The key may not sign for the workspace that the token names.
    #[error("the token's key may not sign for its workspace")]
    KeyScope,
}

/// Most keys of a set of the platform's: more is no key set.
const MOST_KEYS: usize = 100;
/// Base64 digits of an RSA modulus of 2048 to 4096 bits: a shorter one can be factored (RFC 7518, 3.3), a longer one costs more
/// than a request may. Leading zeros, which are `A`s, make none longer.
const RSA_DIGITS: RangeInclusive<usize> = 342..=683;

struct Key {
    decoding: DecodingKey,
    algorithm: Algorithm,
    workspace: Option<String>,
}

/// By `kid`.
type Keys = BTreeMap<String, Key>;

/// Whose tokens a set of keys verifies.
struct Expected {
    issuer: String,
    audience: Option<String>,
    /// Seconds by which the issuer's clock may differ from ours.
    leeway: u64,
}

/// Of the platform's clock.
const PLATFORM_LEEWAY: u64 = 30;

/// Every public key that may sign a token, by `kid`.
pub struct Verifier {
    own: Expected,
    keys: Keys,
    platform: Expected,
    platform_keys: RwLock<Keys>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("kids", &self.keys.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Key {
    /// Of an entry of a set. The algorithm is the one it names, or else the one that its type is meant for.
    fn read(entry: &Value) -> Result<(String, Self), String> {
        let workspace = entry.get("helix_workspace").and_then(Value::as_str).map(str::to_owned);
        let jwk: Jwk = serde_json::from_value(entry.clone()).map_err(|error| error.to_string())?;
        let kid = jwk.common.key_id.clone().ok_or("a key has no kid")?;
        let (algorithm, meant) = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            AlgorithmParameters::RSA(key) if RSA_DIGITS.contains(&key.n.trim_start_matches('A').len()) => {
                (Algorithm::RS256, KeyAlgorithm::RS256)
            }
            AlgorithmParameters::RSA(_) => return Err(format!("key {kid} has not 2048 to 4096 bits")),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            // A shared secret is none, nor is a curve that none of the three signs with.
            AlgorithmParameters::OctetKeyPair(_)
            | AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKey(_)
            | AlgorithmParameters::Other(_)
            | _ => return Err(format!("key {kid} is none of EdDSA, RS256 or ES256")),
        };
        if jwk.common.key_algorithm.is_some_and(|named| named != meant) {
            return Err(format!("key {kid} is of another alg; EdDSA, RS256 and ES256 are taken"));
        }
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
        Ok((kid, Self { decoding, algorithm, workspace }))
    }
}

/// The entries of a JWKS text.
fn entries(text: &str) -> Result<Vec<Value>, String> {
    let mut set: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match set.get_mut("keys").map(Value::take) {
        Some(Value::Array(entries)) => Ok(entries),
        Some(_) | None => Err("it has no keys".to_owned()),
    }
}

impl Expected {
    fn verify(&self, token: &str, key: &Key) -> Result<Claims, AuthError> {
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.leeway = self.leeway;
        validation.validate_nbf = true;
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            }
            None => {
                validation.validate_aud = false;
                validation.set_required_spec_claims(&["exp", "iss"]);
            }
        }
        let mut claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation)
            .map_err(|error| not_valid(&error))?
            .claims;
        if claims.sub.is_empty() {
            return Err(AuthError::Token("it names nobody".to_owned()));
        }
        claims.exp = claims.exp.saturating_add(i64::try_from(self.leeway).unwrap_or(i64::MAX));
        match &key.workspace {
            Some(scope) if *scope != claims.workspace => Err(AuthError::KeyScope),
            Some(_) | None => Ok(claims),
        }
    }
}

fn not_valid(error: &jsonwebtoken::errors::Error) -> AuthError {
    AuthError::Token(error.to_string())
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
        let keys = entries(text)?.iter().map(Key::read).collect::<Result<Keys, String>>()?;
        let expected = |leeway| Expected { issuer: issuer.to_owned(), audience: None, leeway };
        let (own, platform) = (expected(0), expected(PLATFORM_LEEWAY));
        Ok(Self { own, keys, platform, platform_keys: RwLock::default() })
    }

    /// Says whose tokens the platform's keys verify: their issuer, and for whom they must be, where that is asked for.
    #[must_use]
    pub fn with_platform(mut self, issuer: &str, audience: Option<&str>) -> Self {
        let audience = audience.map(str::to_owned);
        self.platform = Expected { issuer: issuer.to_owned(), audience, leeway: PLATFORM_LEEWAY };
        self
    }

    /// Trusts the keys of a JWKS text of the platform's, in place of those before, and tells how many.
    ///
    /// # Errors
    /// The reason, as text, where it is no set or holds no key that can be used: those before are trusted on.
    pub fn trust_platform(&self, text: &str) -> Result<usize, String> {
        let entries = entries(text)?;
        if entries.len() > MOST_KEYS {
            return Err(format!("it has {} keys, more than {MOST_KEYS}", entries.len()));
        }
        let is_for_signing = |entry: &&Value| entry.get("use").is_none_or(|meant| meant == "sig");
        let keys: Keys = entries.iter().filter(is_for_signing).filter_map(|entry| Key::read(entry).ok()).collect();
        if keys.is_empty() {
            return Err(format!("none of its {} keys can be used: EdDSA, RS256 and ES256 are taken", entries.len()));
        }
        let count = keys.len();
        *self.platform_keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
    }

    /// Trusts none of the platform's keys, until it is told others.
    pub fn distrust_platform(&self) {
        self.platform_keys.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Checks a token and gives its claims. Whether its workspace is the one that is asked is the caller's check
    /// (403, not 401).
    ///
    /// # Errors
    /// [`AuthError::Token`], [`AuthError::UnknownKey`] and [`AuthError::KeyScope`].
    pub fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| not_valid(&error))?;
        let kid = header.kid.ok_or_else(|| AuthError::Token("it names no key".to_owned()))?;
        if let Some(key) = self.keys.get(&kid) {
            return self.own.verify(token, key).map(|claims| Claims { is_own: true, ..claims });
        }
        let platform_keys = self.platform_keys.read().unwrap_or_else(PoisonError::into_inner);
        self.platform.verify(token, platform_keys.get(&kid).ok_or(AuthError::UnknownKey)?)
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
        self.sign_since(Person { sub, workspace, role, agent_id }, now, now, lifetime)
    }

    /// A signed token for `lifetime` from `now`, of a person who signed in at `began_at` (Unix seconds).
    ///
    /// # Errors
    /// [`AuthError::Token`] where signing fails.
    pub fn sign_since(
        &self,
        person: Person<'_>,
        began_at: i64,
        now: i64,
        lifetime: Duration,
    ) -> Result<String, AuthError> {
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: person.sub.to_owned(),
            workspace: person.workspace.to_owned(),
            role: person.role,
            agent_id: person.agent_id.map(str::to_owned),
            iat: now,
            exp: now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)),
            auth_time: (began_at != now).then_some(began_at),
            is_own: true,
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
