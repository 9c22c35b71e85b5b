//! Stored samples: values as the code of each released version wrote them, kept for ever and read by the newest code.
//!
//! `samples/<topic>.v<n>/<name>.bin` is the Avro datum that follows the five bytes of framing (the registry's id is the
//! installation's, not the value's), `<name>.json` what its writer meant by it. Only the maker below writes them, only
//! for the newest version, and never over one that is there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use helix_schemas::{
    codec::Codec,
    directory::DirectoryEntry,
    fact::{Fact, Kind},
    rejected::RejectedBody,
    schema::{self, SUBJECTS, Subject},
    topics,
    unrouted::UnroutedEvent,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::records;

fn folder(topic: &str, version: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("samples/{topic}.v{version}"))
}

/// Names of the samples of a version, sorted; each has both of its files.
fn names(topic: &str, version: usize) -> BTreeSet<String> {
    let folder = folder(topic, version);
    let stems = |extension: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths = entries.map(|entry| entry.unwrap().path());
        let of_kind = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
        of_kind.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let names = stems("bin");
    assert_eq!(names, stems("json"), "{}", folder.display());
    names
}

/// A field that is null says what a field that is not there says: it was added later.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let told = members.into_iter().filter(|(_, member)| !member.is_null());
            Value::Object(told.map(|(name, member)| (name, without_nulls(member))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// A codec as a process has it: the newest version's, taught every other. A version's id is its number.
pub fn codec<T: Serialize + DeserializeOwned>(topic: &str, newest: &'static apache_avro::Schema) -> Codec<T> {
    let versions = Subject::of_topic(topic).unwrap().versions;
    let id = |index: usize| u32::try_from(index + 1).unwrap();
    let codec = Codec::new(id(versions.len() - 1), newest).unwrap();
    for (index, text) in versions.iter().enumerate() {
        codec.learn(id(index), text).unwrap();
    }
    codec
}

pub fn framed(version: usize, datum: &[u8]) -> Vec<u8> {
    [&[0], u32::try_from(version).unwrap().to_be_bytes().as_slice(), datum].concat()
}

fn every_sample_decodes<T: Serialize + DeserializeOwned>(topic: &str, newest: &'static apache_avro::Schema) {
    let codec: Codec<T> = codec(topic, newest);
    for version in 1..=Subject::of_topic(topic).unwrap().versions.len() {
        for name in names(topic, version) {
            let file = folder(topic, version).join(&name);
            let datum = fs::read(file.with_extension("bin")).unwrap();
            let decoded = codec.decode(&framed(version, &datum)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let meant: Value = serde_json::from_slice(&fs::read(file.with_extension("json")).unwrap()).unwrap();
            let read = serde_json::to_value(&decoded).unwrap();
            assert_eq!(without_nulls(read), without_nulls(meant), "{topic}.v{version} {name}");
        }
    }
}

#[test]
fn every_stored_sample_of_every_version_decodes_with_the_newest_types() {
    every_sample_decodes::<Fact>(topics::FACTS, &schema::FACT);
    every_sample_decodes::<UnroutedEvent>(topics::UNROUTED, &schema::UNROUTED);
    every_sample_decodes::<RejectedBody>(topics::REJECTED, &schema::REJECTED);
    every_sample_decodes::<DirectoryEntry>(topics::DIRECTORY, &schema::DIRECTORY);
}

#[test]
fn every_version_has_samples_and_the_facts_of_each_every_kind() {
    let mut released = BTreeSet::new();
    for subject in &SUBJECTS {
        for version in 1..=subject.versions.len() {
            released.insert(format!("{}.v{version}", subject.topic));
            assert!(!names(subject.topic, version).is_empty(), "{} v{version} has no sample", subject.topic);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let found: BTreeSet<String> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, released, "a folder for each version, and none besides");

    let subject = Subject::of_topic(topics::FACTS).unwrap();
    for version in 1..=subject.versions.len() {
        let kind = |name: String| {
            let json = fs::read(folder(subject.topic, version).join(name).with_extension("json")).unwrap();
            serde_json::from_slice::<Value>(&json).unwrap()["kind"].as_str().unwrap().to_owned()
        };
        let kinds: BTreeSet<String> = names(subject.topic, version).into_iter().map(kind).collect();
        assert_eq!(kinds, Kind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect(), "v{version}");
    }
}

/// The text of a released version as it was on the day; one line more a release.
const RELEASED: [(&str, usize, &str); 7] = [
    (topics::FACTS, 1, "7759e640-55af-5a6c-8498-3c7cae0f1c39"),
    (topics::FACTS, 2, "260ae400-e614-5ad4-b593-99482046a242"),
    (topics::UNROUTED, 1, "434f7b53-51e1-5cb1-af8d-30ccaf9817e4"),
    (topics::UNROUTED, 2, "839abfb3-7d79-5798-aa94-9fe559856036"),
    (topics::REJECTED, 1, "37143501-d3ce-5578-b81d-5fbf72320fd9"),
    (topics::REJECTED, 2, "076bc44e-712b-5dc7-bc55-1b88012d426f"),
    (topics::DIRECTORY, 1, "a79e72ca-735a-57d8-8148-f69c3bccb771"),
];

#[test]
fn a_released_schema_never_changes() {
    let mut found = Vec::new();
    for subject in &SUBJECTS {
        for (index, text) in subject.versions.iter().enumerate() {
            let print = uuid::Uuid::new_v5(&helix_schemas::id::NAMESPACE, text.as_bytes()).to_string();
            found.push((subject.topic, index + 1, print));
        }
    }
    let released: Vec<_> =
        RELEASED.iter().map(|(topic, version, print)| (*topic, *version, (*print).to_owned())).collect();
    assert_eq!(found, released, "a new version is a new file");
}

fn write<T: Serialize + DeserializeOwned>(
    topic: &str,
    newest: &'static apache_avro::Schema,
    values: Vec<records::Named<T>>,
) {
    let version = Subject::of_topic(topic).unwrap().versions.len();
    let folder = folder(topic, version);
    fs::create_dir_all(&folder).unwrap();
    let codec: Codec<T> = codec(topic, newest);
    for (name, value) in values {
        let file = folder.join(name);
        if file.with_extension("bin").exists() {
            continue;
        }
        let framed = codec.encode(&value).unwrap();
        let json = serde_json::to_string_pretty(&value).unwrap();
        fs::write(file.with_extension("bin"), &framed[helix_schemas::codec::HEADER_BYTES..]).unwrap();
        fs::write(file.with_extension("json"), json + "\n").unwrap();
    }
}

#[test]
#[ignore = "writes into the tree: run once when a version is released (schemas/README.md)"]
fn write_the_samples_of_the_newest_versions() {
    write(topics::FACTS, &schema::FACT, records::facts());
    write(topics::UNROUTED, &schema::UNROUTED, records::unrouted_events());
    write(topics::REJECTED, &schema::REJECTED, records::rejected_bodies());
    write(topics::DIRECTORY, &schema::DIRECTORY, records::directory_entries());
}
