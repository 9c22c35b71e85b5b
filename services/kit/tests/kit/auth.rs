//! Whose tokens are taken: by key, algorithm, issuer, audience and workspace.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use helix_kit::auth::{AuthError, Role, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const OWN: &str = "helix";
const PLATFORM: &str = "https://issuer.platform.example";

/// A key by the byte that its seed is made of.
struct Pair {
    kid: &'static str,
    key: SigningKey,
}

impl Pair {
    fn new(kid: &'static str, seed: u8) -> Self {
        Self { kid, key: SigningKey::from_bytes(&[seed; 32]) }
    }

    fn public(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key().to_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x })
    }

    fn encoding(&self) -> EncodingKey {
        // PKCS#8 of an Ed25519 key: a fixed head, then the seed (RFC 8410).
        let head = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        EncodingKey::from_ed_der(&[head.as_slice(), &self.key.to_bytes()].concat())
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.encoding()).unwrap()
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "asha@platform.example", "workspace": "ramaiah", "role": "supervisor", "iat": now(),
        "exp": now() + 3600,
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn set(entries: &[Value]) -> String {
    json!({ "keys": entries }).to_string()
}

fn refused(verifier: &Verifier, token: &str) -> String {
    verifier.verify(token).expect_err("a token that must not be taken").to_string()
}

#[test]
fn a_token_of_the_platform_is_taken_for_its_issuer_and_audience_alone() {
    let (own, platform) = (Pair::new("own", 1), Pair::new("p1", 2));
    let verifier = Verifier::from_json(OWN, &set(&[own.public()])).unwrap().with_platform(PLATFORM, Some("helix"));
    let good = with(claims(PLATFORM), "aud", json!(["other", "helix"]));
    assert!(matches!(verifier.verify(&platform.sign(&good)), Err(AuthError::UnknownKey)));
    assert_eq!(verifier.trust_platform(&set(&[platform.public()])), Ok(1));
    let taken = verifier.verify(&platform.sign(&good)).unwrap();
    assert_eq!((taken.sub.as_str(), taken.role), ("asha@platform.example", Role::Supervisor));
    for (claims, word) in [
        (with(good.clone(), "iss", json!("https://another.example")), "InvalidIssuer"),
        // Our own issuer's name is not the platform's to use, nor the other way round.
        (with(good.clone(), "iss", json!(OWN)), "InvalidIssuer"),
        (with(good.clone(), "aud", json!("another")), "InvalidAudience"),
        (claims(PLATFORM), "aud"),
        (with(good.clone(), "exp", json!(now() - 600)), "ExpiredSignature"),
        (with(good.clone(), "nbf", json!(now() + 600)), "ImmatureSignature"),
    ] {
        let told = refused(&verifier, &platform.sign(&claims));
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(refused(&verifier, &own.sign(&claims(PLATFORM))).contains("InvalidIssuer"));
    // Of our own no audience is asked.
    assert!(verifier.verify(&own.sign(&claims(OWN))).is_ok());
}

#[test]
fn a_key_verifies_by_its_own_algorithm_whatever_the_token_says() {
    let platform = Pair::new("p1", 2);
    let verifier = Verifier::from_json(OWN, &set(&[])).unwrap().with_platform(PLATFORM, None);
    verifier.trust_platform(&set(&[platform.public()])).unwrap();
    assert!(verifier.verify(&platform.sign(&claims(PLATFORM))).is_ok());
    // What everybody can read, used as if it were a shared secret.
    let public = platform.key.verifying_key().to_bytes();
    let header = Header { kid: Some("p1".to_owned()), ..Header::new(Algorithm::HS256) };
    for secret in [public.to_vec(), platform.public()["x"].as_str().unwrap().as_bytes().to_vec()] {
        let forged = jsonwebtoken::encode(&header, &claims(PLATFORM), &EncodingKey::from_secret(&secret)).unwrap();
        assert!(refused(&verifier, &forged).contains("InvalidAlgorithm"));
    }
    // Signed by nobody: the head says so, and the signature is empty.
    let signed = platform.sign(&claims(PLATFORM));
    let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
    assert!(verifier.verify(&unsigned).is_err());
    let other = Pair::new("p1", 3);
    assert!(refused(&verifier, &other.sign(&claims(PLATFORM))).contains("InvalidSignature"));
}

#[test]
fn of_a_set_only_what_verifies_signatures_is_trusted_and_a_bad_set_changes_nothing() {
    let (own, platform, shadow) = (Pair::new("own", 1), Pair::new("p1", 2), Pair::new("own", 4));
    let verifier = Verifier::from_json(OWN, &set(&[own.public()])).unwrap().with_platform(PLATFORM, None);
    let secret = json!({ "kty": "oct", "kid": "shared", "alg": "HS256", "k": "c2VjcmV0" });
    let encrypting = with(Pair::new("enc", 5).public(), "use", json!("enc"));
    let misnamed = with(Pair::new("rs", 6).public(), "alg", json!("RS256"));
    let nameless = with(Pair::new("x", 7).public(), "kid", Value::Null);
    let strange = json!({ "kty": "AKP", "kid": "later", "alg": "ML-DSA-44", "pub": "AAAA" });
    let useless = [secret, encrypting, misnamed, nameless, strange];
    let mut all = vec![platform.public(), shadow.public()];
    all.extend(useless.clone());
    assert_eq!(verifier.trust_platform(&set(&all)), Ok(2));
    let shared = Header { kid: Some("shared".to_owned()), ..Header::new(Algorithm::HS256) };
    let forged = jsonwebtoken::encode(&shared, &claims(PLATFORM), &EncodingKey::from_secret(b"secret")).unwrap();
    assert!(matches!(verifier.verify(&forged), Err(AuthError::UnknownKey)));
    // A key of the platform's under the name of one of our own stands behind ours.
    assert!(verifier.verify(&own.sign(&claims(OWN))).is_ok());
    assert!(refused(&verifier, &shadow.sign(&claims(PLATFORM))).contains("Invalid"));
    let many: Vec<Value> = (0..101).map(|_| platform.public()).collect();
    for bad in [set(&useless), set(&[]), set(&many), "{}".to_owned(), "<html>".to_owned(), String::new()] {
        verifier.trust_platform(&bad).expect_err("a set that must not be taken");
        assert!(verifier.verify(&platform.sign(&claims(PLATFORM))).is_ok(), "{bad:.40}");
    }
    // The next good set takes the place of the last one as a whole.
    let next = Pair::new("p2", 8);
    assert_eq!(verifier.trust_platform(&set(&[next.public()])), Ok(1));
    assert!(verifier.verify(&next.sign(&claims(PLATFORM))).is_ok());
    assert!(matches!(verifier.verify(&platform.sign(&claims(PLATFORM))), Err(AuthError::UnknownKey)));
}

#[test]
fn a_key_that_is_bound_to_a_workspace_signs_for_no_other() {
    let bound = Pair::new("p1", 2);
    let verifier = Verifier::from_json(OWN, &set(&[])).unwrap().with_platform(PLATFORM, None);
    verifier.trust_platform(&set(&[with(bound.public(), "helix_workspace", json!("global"))])).unwrap();
    assert!(matches!(verifier.verify(&bound.sign(&claims(PLATFORM))), Err(AuthError::KeyScope)));
    assert!(verifier.verify(&bound.sign(&with(claims(PLATFORM), "workspace", json!("global")))).is_ok());
    // In our own set a key that cannot be used is a mistake, and nothing starts.
    let misnamed = with(bound.public(), "alg", json!("HS256"));
    assert!(Verifier::from_json(OWN, &set(&[misnamed])).unwrap_err().contains("p1"));
}
