//! What was registered: a file of JSON lines that only ever grows, and its contents in memory.
//!
//! A line is on disk (fsync) before anybody learns of it. A last line without its end was never acknowledged and is
//! cut off at the next start; anything else that does not read stops the start, because a guess could give an id a
//! second meaning.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use apache_avro::Schema;
use serde::{Deserialize, Serialize};

use super::compatibility::Level;

/// Why nothing can be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be used.
    #[error("the registry cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A line does not read.
    #[error(
        "line {line} of {} does not read ({reason}): restore the file from a copy; ids in the log depend on it",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Another process has it.
    #[error("another registry runs in {}: stop it first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Registered { subject: String, version: u32, id: u32, schema: String },
    Configured { subject: Option<String>, compatibility: Level },
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Counted from 1 within the subject.
    pub version: u32,
    /// The schema's id.
    pub id: u32,
}

struct Known {
    text: String,
    canonical: String,
    schema: Schema,
}

/// Everything registered. Methods that change it block on the disk.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    schemas: BTreeMap<u32, Known>,
    subjects: BTreeMap<String, Vec<Stored>>,
    levels: BTreeMap<String, Level>,
    level: Level,
}

/// A text as a schema, with the form that decides whether two are the same.
pub(super) struct Parsed {
    pub(super) text: String,
    pub(super) schema: Schema,
    canonical: String,
}

impl Parsed {
    /// Reads an Avro schema.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let schema = Schema::parse_str(text).map_err(|error| error.to_string())?;
        // A bare word, as `string`, is Avro's short form of a JSON string.
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut canonical = String::new();
        write_canonical(&value, &mut canonical);
        Ok(Self { text: text.to_owned(), schema, canonical })
    }
}

/// JSON without white space, keys in order.
fn write_canonical(value: &serde_json::Value, out: &mut String) {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            out.push('{');
            for (place, (key, member)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

impl Store {
    /// Opens the file in `folder`, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("registry.jsonl");
        let fault = |action| {
            let path = path.clone();
            move |source| StoreError::File { action, path, source }
        };
        std::fs::create_dir_all(folder).map_err(fault("create the folder of"))?;
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(fault("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path }),
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::File { action: "lock", path, source });
            }
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(fault("read"))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            tracing::warn!(bytes = text.len() - whole, "a line that was never acknowledged is cut off");
            file.set_len(whole as u64).map_err(fault("cut"))?;
        }
        // The file's name must survive a loss of power as well as what is in it.
        file.sync_all().map_err(fault("sync"))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault("sync the folder of"))?;
        let mut store = Self {
            path,
            file,
            schemas: BTreeMap::new(),
            subjects: BTreeMap::new(),
            levels: BTreeMap::new(),
            level: Level::FullTransitive,
        };
        for (place, line) in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let read = serde_json::from_slice(line).map_err(|error| error.to_string());
            let applied = read.and_then(|line| store.apply(line));
            applied.map_err(|reason| StoreError::Damaged { path: store.path.clone(), line: place + 1, reason })?;
        }
        Ok(store)
    }

    /// How many schemas there are.
    pub(super) fn ids(&self) -> usize {
        self.schemas.len()
    }

    fn apply(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Registered { subject, version, id, schema } => {
                let parsed = Parsed::read(&schema)?;
                if self.schemas.get(&id).is_some_and(|known| known.canonical != parsed.canonical) {
                    return Err(format!("id {id} has two meanings"));
                }
                let Parsed { text, schema, canonical } = parsed;
                self.schemas.entry(id).or_insert(Known { text, canonical, schema });
                self.subjects.entry(subject).or_default().push(Stored { version, id });
            }
            Line::Configured { subject: Some(subject), compatibility } => {
                self.levels.insert(subject, compatibility);
            }
            Line::Configured { subject: None, compatibility } => self.level = compatibility,
        }
        Ok(())
    }

    /// Writes a line down, then takes it as true.
    fn append(&mut self, line: Line) -> Result<(), StoreError> {
        let fault = |action, path: &Path| {
            let path = path.to_path_buf();
            move |source| StoreError::File { action, path, source }
        };
        let before = self.file.metadata().map_err(fault("measure", &self.path))?.len();
        let mut text = serde_json::to_string(&line).map_err(|error| StoreError::File {
            action: "write",
            path: self.path.clone(),
            source: std::io::Error::other(error),
        })?;
        text.push('\n');
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a line would damage the file for the next one.
            let _told_by_the_first_error = self.file.set_len(before);
            return Err(StoreError::File { action: "write", path: self.path.clone(), source });
        }
        self.apply(line).map_err(|reason| StoreError::Damaged { path: self.path.clone(), line: 0, reason })
    }

    /// Registers a schema that the caller has checked; the version it has where it is registered already.
    pub(super) fn register(&mut self, subject: &str, parsed: Parsed) -> Result<Stored, StoreError> {
        if let Some(stored) = self.find(subject, &parsed) {
            return Ok(stored);
        }
        let known = self.schemas.iter().find(|(_, known)| known.canonical == parsed.canonical).map(|(id, _)| *id);
        let newest = self.schemas.keys().next_back().copied().unwrap_or_default();
        let id = known.unwrap_or(newest + 1);
        let version = self.versions(subject).last().map_or(0, |stored| stored.version) + 1;
        self.append(Line::Registered { subject: subject.to_owned(), version, id, schema: parsed.text })?;
        Ok(Stored { version, id })
    }

    /// Sets a level: of one subject, or of all that have none.
    pub(super) fn configure(&mut self, subject: Option<&str>, compatibility: Level) -> Result<(), StoreError> {
        let current = subject.map_or(Some(self.level), |subject| self.levels.get(subject).copied());
        if current == Some(compatibility) {
            return Ok(());
        }
        self.append(Line::Configured { subject: subject.map(str::to_owned), compatibility })
    }

    /// The version under which a subject has that schema.
    pub(super) fn find(&self, subject: &str, parsed: &Parsed) -> Option<Stored> {
        let same =
            |stored: &&Stored| self.schemas.get(&stored.id).is_some_and(|known| known.canonical == parsed.canonical);
        self.versions(subject).iter().find(same).cloned()
    }

    /// In which ways a schema breaks the level of a subject, against all its versions.
    pub(super) fn violations(&self, subject: &str, new: &Schema) -> Vec<String> {
        let earlier: Vec<(u32, &Schema)> = self.schemas_of(self.versions(subject));
        self.level_of(subject).violations(new, &earlier)
    }

    /// The same against one version.
    pub(super) fn violations_against(&self, subject: &str, stored: &Stored, new: &Schema) -> Vec<String> {
        let earlier = self.schemas_of(std::slice::from_ref(stored));
        self.level_of(subject).violations(new, &earlier)
    }

    fn schemas_of(&self, versions: &[Stored]) -> Vec<(u32, &Schema)> {
        versions.iter().filter_map(|stored| Some((stored.version, &self.schemas.get(&stored.id)?.schema))).collect()
    }

    /// Every subject.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.subjects.keys().map(String::as_str)
    }

    /// The versions of a subject, oldest first; none where there is no such subject.
    pub(super) fn versions(&self, subject: &str) -> &[Stored] {
        self.subjects.get(subject).map_or(&[], Vec::as_slice)
    }

    /// The text of a schema, as it was registered first.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.schemas.get(&id).map(|known| known.text.as_str())
    }

    /// Every subject and version of an id.
    pub(super) fn uses(&self, id: u32) -> Vec<(&str, u32)> {
        self.subjects
            .iter()
            .flat_map(|(subject, versions)| versions.iter().map(move |stored| (subject.as_str(), stored)))
            .filter(|(_, stored)| stored.id == id)
            .map(|(subject, stored)| (subject, stored.version))
            .collect()
    }

    /// The level of a subject of its own.
    pub(super) fn own_level(&self, subject: &str) -> Option<Level> {
        self.levels.get(subject).copied()
    }

    /// The level of subjects without one.
    pub(super) const fn level(&self) -> Level {
        self.level
    }

    fn level_of(&self, subject: &str) -> Level {
        self.own_level(subject).unwrap_or(self.level)
    }
}
