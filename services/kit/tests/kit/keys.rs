//! Keys of an issuer, of each kind that is taken: made by OpenSSL when a test begins, and kept nowhere.

#![allow(dead_code)] // The tests of the sidecar take what they need.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

/// A pair under a name.
pub struct IssuerKey {
    pub kid: String,
    /// The one that a key set will name.
    pub algorithm: Algorithm,
    pub private: EncodingKey,
    /// PEM.
    pub text: String,
}

impl IssuerKey {
    pub fn rsa(kid: &str) -> Self {
        Self::rsa_of(2048, kid)
    }

    pub fn rsa_of(bits: usize, kid: &str) -> Self {
        let text = generated(&["RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")]);
        let private = EncodingKey::from_rsa_pem(text.as_bytes()).unwrap();
        Self { kid: kid.to_owned(), algorithm: Algorithm::RS256, private, text }
    }

    /// On P-256.
    pub fn ec(kid: &str) -> Self {
        let text = generated(&["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        let private = EncodingKey::from_ec_pem(text.as_bytes()).unwrap();
        Self { kid: kid.to_owned(), algorithm: Algorithm::ES256, private, text }
    }

    /// Its entry in a key set.
    pub fn public(&self) -> Value {
        let mut entry = serde_json::to_value(Jwk::from_encoding_key(&self.private, self.algorithm).unwrap()).unwrap();
        entry["kid"] = json!(self.kid);
        entry["use"] = json!("sig");
        entry
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.algorithm, claims)
    }

    /// By another algorithm of the same family than the key set names.
    pub fn sign_as(&self, algorithm: Algorithm, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// What everybody can read, in the forms in which it is passed around.
    pub fn public_texts(&self) -> Vec<Vec<u8>> {
        let entry = self.public();
        let der = openssl(&["pkey", "-pubout", "-outform", "DER"], &self.text);
        let pem = openssl(&["pkey", "-pubout"], &self.text);
        let number = |name: &str| entry[name].as_str().unwrap_or_default().as_bytes().to_vec();
        vec![pem.trim_ascii().to_vec(), pem, der, number("n"), number("x"), entry.to_string().into_bytes()]
    }
}

fn generated(kind: &[&str]) -> String {
    let arguments = [&["genpkey", "-algorithm"], kind].concat();
    String::from_utf8(openssl(&arguments, "")).unwrap()
}

/// Runs OpenSSL in a folder.
pub fn openssl_in(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn openssl(arguments: &[&str], input: &str) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}
