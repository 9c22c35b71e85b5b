//! Whose tokens are taken: by key, algorithm, issuer, audience and workspace.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use helix_kit::auth::{AuthError, Role, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::keys::IssuerKey;

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

/// Trusts these keys of the platform's.
fn trusting(entries: &[Value]) -> Verifier {
    let verifier = Verifier::from_json(OWN, &set(&[])).unwrap().with_platform(PLATFORM, Some("helix"));
    assert_eq!(verifier.trust_platform(&set(entries)), Ok(entries.len()));
    verifier
}

fn for_us() -> Value {
    with(claims(PLATFORM), "aud", json!("helix"))
}

#[test]
fn tokens_by_rs256_and_es256_are_held_to_the_same_claims() {
    for key in [IssuerKey::rsa("r1"), IssuerKey::ec("e1")] {
        let mut unnamed = key.public();
        unnamed.as_object_mut().unwrap().remove("alg");
        for entry in [key.public(), unnamed] {
            let taken = trusting(&[entry]).verify(&key.sign(&for_us())).unwrap();
            assert_eq!((taken.sub.as_str(), taken.is_own), ("asha@platform.example", false));
        }
        let verifier = trusting(&[key.public()]);
        // The platform's clock may differ from ours by half a minute, and a token lives by its clock.
        assert_eq!(verifier.verify(&key.sign(&with(for_us(), "exp", json!(now() - 20)))).unwrap().exp, now() + 10);
        for (claims, word) in [
            (with(for_us(), "iss", json!("https://another.example")), "InvalidIssuer"),
            (with(for_us(), "iss", json!(OWN)), "InvalidIssuer"),
            (with(for_us(), "aud", json!("another")), "InvalidAudience"),
            (claims(PLATFORM), "aud"),
            (with(for_us(), "exp", json!(now() - 40)), "ExpiredSignature"),
            (with(for_us(), "exp", Value::Null), "exp"),
            (with(for_us(), "nbf", json!(now() + 40)), "ImmatureSignature"),
            (with(for_us(), "sub", json!("")), "nobody"),
        ] {
            let told = refused(&verifier, &key.sign(&claims));
            assert!(told.contains(word), "{} {word}: {told}", key.kid);
        }
    }
}

#[test]
fn no_key_verifies_by_another_algorithm_than_the_one_it_is_for() {
    let (rsa, ec) = (IssuerKey::rsa("r1"), IssuerKey::ec("e1"));
    let verifier = trusting(&[rsa.public(), ec.public()]);
    for key in [&rsa, &ec] {
        for secret in key.public_texts() {
            let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
            let forged = jsonwebtoken::encode(&header, &for_us(), &EncodingKey::from_secret(&secret)).unwrap();
            assert!(refused(&verifier, &forged).contains("InvalidAlgorithm"), "{}", key.kid);
        }
        let signed = key.sign(&for_us());
        let payload = signed.split('.').nth(1).unwrap();
        for word in ["none", "None", "NONE", ""] {
            let head = URL_SAFE_NO_PAD.encode(json!({ "alg": word, "kid": key.kid }).to_string());
            for signature in ["", signed.rsplit('.').next().unwrap()] {
                assert!(matches!(verifier.verify(&format!("{head}.{payload}.{signature}")), Err(AuthError::Token(_))));
            }
        }
        // A signature of nothing but zeros.
        let (text, _) = signed.rsplit_once('.').unwrap();
        for length in [0, 64, 256] {
            let forged = format!("{text}.{}", URL_SAFE_NO_PAD.encode(vec![0; length]));
            assert!(refused(&verifier, &forged).contains("InvalidSignature"), "{} {length}", key.kid);
        }
    }
    // By the right key, and not as its entry says.
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        assert!(refused(&verifier, &rsa.sign_as(algorithm, &for_us())).contains("InvalidAlgorithm"));
    }
    // Under the other's name.
    let renamed = |key: IssuerKey, kid: &str| IssuerKey { kid: kid.to_owned(), ..key };
    assert!(refused(&verifier, &renamed(rsa, "e1").sign(&for_us())).contains("InvalidAlgorithm"));
    assert!(refused(&verifier, &renamed(ec, "r1").sign(&for_us())).contains("InvalidAlgorithm"));
    // A token that brings its own key is held to the one of that name that is trusted.
    let stranger = IssuerKey::rsa("r1");
    let jwk = serde_json::from_value(stranger.public()).unwrap();
    let header = Header { kid: Some("r1".to_owned()), jwk: Some(jwk), ..Header::new(Algorithm::RS256) };
    let forged = jsonwebtoken::encode(&header, &for_us(), &stranger.private).unwrap();
    assert!(refused(&verifier, &forged).contains("InvalidSignature"));
}

#[test]
fn a_key_that_is_too_weak_or_too_long_to_be_used_is_none() {
    let good = IssuerKey::rsa("good");
    let with_modulus = |kid: &str, n: &[u8]| {
        let entry = with(good.public(), "kid", json!(kid));
        with(entry, "n", json!(URL_SAFE_NO_PAD.encode(n)))
    };
    let weak = IssuerKey::rsa_of(1024, "weak").public();
    let short = URL_SAFE_NO_PAD.decode(weak["n"].as_str().unwrap()).unwrap();
    let padded = with_modulus("padded", &[vec![0; 128], short].concat());
    let long = with_modulus("long", &[0xff; 513]);
    for useless in [weak, padded, long] {
        let verifier = Verifier::from_json(OWN, &set(&[])).unwrap();
        assert_eq!(verifier.trust_platform(&set(&[useless.clone(), good.public()])), Ok(1), "{}", useless["kid"]);
        assert!(Verifier::from_json(OWN, &set(&[useless])).unwrap_err().contains("4096 bits"));
    }
    // Whoever publishes an exponent of 1 says that the padded digest is its own signature.
    let verifier = trusting(&[with(good.public(), "e", json!("AQ"))]);
    assert!(refused(&verifier, &good.sign(&for_us())).contains("Invalid"));
    // A point that is not on the curve.
    let ec = IssuerKey::ec("e1");
    let off = with(ec.public(), "x", json!(URL_SAFE_NO_PAD.encode([7; 32])));
    assert!(verifier_takes_nothing(&off, &ec.sign(&for_us())));
    // Taken back, all of them.
    let verifier = trusting(&[good.public()]);
    assert!(verifier.verify(&good.sign(&for_us())).is_ok());
    verifier.distrust_platform();
    assert!(matches!(verifier.verify(&good.sign(&for_us())), Err(AuthError::UnknownKey)));
}

/// Whether it is refused as an entry, or verifies nothing.
fn verifier_takes_nothing(entry: &Value, token: &str) -> bool {
    let verifier = Verifier::from_json(OWN, &set(&[])).unwrap().with_platform(PLATFORM, Some("helix"));
    let _taken = verifier.trust_platform(&set(std::slice::from_ref(entry)));
    verifier.verify(token).is_err()
}
