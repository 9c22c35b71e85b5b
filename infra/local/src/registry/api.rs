//! The REST paths, as Confluent's clients use them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    compatibility::Level,
    fault::{CONTENT_TYPE, Fault},
    store::{Parsed, Store, Stored},
};

/// The store behind a lock: registrations come one after the other, each with one fsync.
#[derive(Clone)]
struct Shared(Arc<Mutex<Store>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Store> {
        // A panic elsewhere leaves the store as it was: lines are applied whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer = Result<Response, Fault>;

fn json_answer(body: &Value) -> Answer {
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], body.to_string()).into_response())
}

async fn never_deleted() -> Fault {
    Fault::NeverDeleted
}

/// Every path.
pub(super) fn router(store: Store) -> Router {
    Router::new()
        .route("/", get(|| async { json_answer(&json!({})) }))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(lookup).delete(never_deleted))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version).delete(never_deleted))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_schema))
        .route("/schemas/types", get(|| async { json_answer(&json!(["AVRO"])) }))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(schema_text))
        .route("/schemas/ids/{id}/subjects", get(schema_subjects))
        .route("/schemas/ids/{id}/versions", get(schema_versions))
        .route("/compatibility/subjects/{subject}/versions", post(compatible_with_all))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatible))
        .route("/config", get(global_level).put(set_global_level).delete(never_deleted))
        .route("/config/{subject}", get(subject_level).put(set_subject_level).delete(never_deleted))
        .route("/mode", get(|| async { json_answer(&json!({"mode": "READWRITE"})) }))
        .fallback(|| async { Fault::NoSuchPath })
        .with_state(Shared(Arc::new(Mutex::new(store))))
}

/// Bodies are read as JSON whatever their content type says: clients send three different ones.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| Fault::NotJson(error.to_string()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Value>,
}

fn parsed(bytes: &Bytes) -> Result<Parsed, Fault> {
    let body: SchemaBody = body(bytes)?;
    if body.schema_type.as_deref().is_some_and(|kind| kind != "AVRO") {
        return Err(Fault::BadSchema("only schemas of type AVRO are taken".to_owned()));
    }
    if !body.references.is_empty() {
        return Err(Fault::BadSchema("references to other schemas are not taken: send the whole schema".to_owned()));
    }
    Parsed::read(&body.schema).map_err(Fault::BadSchema)
}

fn resolve(store: &Store, subject: &str, version: &str) -> Result<Stored, Fault> {
    let versions = store.versions(subject);
    let latest = versions.last().ok_or_else(|| Fault::NoSubject(subject.to_owned()))?;
    if version == "latest" || version == "-1" {
        return Ok(latest.clone());
    }
    let number = version.parse::<u32>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| Fault::BadVersion(version.to_owned()))?;
    let found = versions.iter().find(|stored| stored.version == number).cloned();
    found.ok_or_else(|| Fault::NoVersion(version.to_owned()))
}

fn described(store: &Store, subject: &str, stored: &Stored) -> Value {
    let text = store.text(stored.id).unwrap_or_default();
    json!({"subject": subject, "id": stored.id, "version": stored.version, "schema": text})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubjectsQuery {
    #[serde(default)]
    subject_prefix: String,
}

async fn subjects(State(shared): State<Shared>, Query(query): Query<SubjectsQuery>) -> Answer {
    let store = shared.lock();
    let names: Vec<&str> = store.subjects().filter(|subject| subject.starts_with(&query.subject_prefix)).collect();
    json_answer(&json!(names))
}

async fn lookup(State(shared): State<Shared>, Path(subject): Path<String>, bytes: Bytes) -> Answer {
    let parsed = parsed(&bytes)?;
    let store = shared.lock();
    if store.versions(&subject).is_empty() {
        return Err(Fault::NoSubject(subject));
    }
    let stored = store.find(&subject, &parsed).ok_or(Fault::NoSchema)?;
    json_answer(&described(&store, &subject, &stored))
}

async fn versions(State(shared): State<Shared>, Path(subject): Path<String>) -> Answer {
    let store = shared.lock();
    let numbers: Vec<u32> = store.versions(&subject).iter().map(|stored| stored.version).collect();
    if numbers.is_empty() {
        return Err(Fault::NoSubject(subject));
    }
    json_answer(&json!(numbers))
}

async fn register(State(shared): State<Shared>, Path(subject): Path<String>, bytes: Bytes) -> Answer {
    let parsed = parsed(&bytes)?;
    // The fsync under the lock must not hold up other requests' threads.
    let registered = tokio::task::spawn_blocking(move || {
        let mut store = shared.lock();
        if store.find(&subject, &parsed).is_none() {
            let violations = store.violations(&subject, &parsed.schema);
            if !violations.is_empty() {
                return Err(Fault::Incompatible(violations.join("; ")));
            }
        }
        Ok(store.register(&subject, parsed)?)
    });
    let stored = joined(registered.await)?;
    json_answer(&json!({"id": stored.id}))
}

/// The result of work on another thread.
fn joined<T>(done: Result<Result<T, Fault>, tokio::task::JoinError>) -> Result<T, Fault> {
    done.map_err(|error| Fault::NotJson(error.to_string()))?
}

async fn version(State(shared): State<Shared>, Path((subject, version)): Path<(String, String)>) -> Answer {
    let store = shared.lock();
    let stored = resolve(&store, &subject, &version)?;
    json_answer(&described(&store, &subject, &stored))
}

async fn version_schema(State(shared): State<Shared>, Path((subject, version)): Path<(String, String)>) -> Answer {
    let store = shared.lock();
    let stored = resolve(&store, &subject, &version)?;
    text_answer(&store, stored.id)
}

fn text_answer(store: &Store, id: u32) -> Answer {
    let text = store.text(id).ok_or(Fault::NoSchema)?.to_owned();
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// No schema has an id that is no number.
fn number(id: &str) -> Result<u32, Fault> {
    id.parse().map_err(|_| Fault::NoSchema)
}

async fn schema(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    let store = shared.lock();
    let text = store.text(number(&id)?).ok_or(Fault::NoSchema)?;
    json_answer(&json!({"schema": text}))
}

async fn schema_text(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    text_answer(&shared.lock(), number(&id)?)
}

async fn schema_subjects(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    let store = shared.lock();
    let id = number(&id)?;
    store.text(id).ok_or(Fault::NoSchema)?;
    let subjects: Vec<&str> = store.uses(id).into_iter().map(|(subject, _)| subject).collect();
    json_answer(&json!(subjects))
}

async fn schema_versions(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    let store = shared.lock();
    let id = number(&id)?;
    store.text(id).ok_or(Fault::NoSchema)?;
    let uses = store.uses(id).into_iter().map(|(subject, version)| json!({"subject": subject, "version": version}));
    json_answer(&Value::from(uses.collect::<Vec<_>>()))
}

/// Clients write booleans in any letter case.
fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

#[derive(Deserialize)]
struct Verbose {
    #[serde(default)]
    verbose: String,
}

fn verdict(violations: &[String], verbose: bool) -> Answer {
    let mut answer = json!({"is_compatible": violations.is_empty()});
    if verbose {
        answer["messages"] = json!(violations);
    }
    json_answer(&answer)
}

async fn compatible(
    State(shared): State<Shared>,
    Path((subject, version)): Path<(String, String)>,
    Query(query): Query<Verbose>,
    bytes: Bytes,
) -> Answer {
    let parsed = parsed(&bytes)?;
    let store = shared.lock();
    let stored = resolve(&store, &subject, &version)?;
    verdict(&store.violations_against(&subject, &stored, &parsed.schema), is_true(&query.verbose))
}

async fn compatible_with_all(
    State(shared): State<Shared>,
    Path(subject): Path<String>,
    Query(query): Query<Verbose>,
    bytes: Bytes,
) -> Answer {
    let parsed = parsed(&bytes)?;
    verdict(&shared.lock().violations(&subject, &parsed.schema), is_true(&query.verbose))
}

fn level(bytes: &Bytes) -> Result<Level, Fault> {
    #[derive(Deserialize)]
    struct LevelBody {
        compatibility: String,
    }
    let body: LevelBody = body(bytes)?;
    let level = serde_json::from_value(Value::from(body.compatibility.as_str()));
    level.map_err(|_| Fault::BadLevel(body.compatibility))
}

async fn set(shared: Shared, subject: Option<String>, bytes: Bytes) -> Answer {
    let level = level(&bytes)?;
    let set = tokio::task::spawn_blocking(move || Ok(shared.lock().configure(subject.as_deref(), level)?));
    joined(set.await)?;
    json_answer(&json!({"compatibility": level}))
}

async fn set_global_level(State(shared): State<Shared>, bytes: Bytes) -> Answer {
    set(shared, None, bytes).await
}

async fn set_subject_level(State(shared): State<Shared>, Path(subject): Path<String>, bytes: Bytes) -> Answer {
    set(shared, Some(subject), bytes).await
}

async fn global_level(State(shared): State<Shared>) -> Answer {
    json_answer(&json!({"compatibilityLevel": shared.lock().level()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LevelQuery {
    #[serde(default)]
    default_to_global: String,
}

async fn subject_level(
    State(shared): State<Shared>,
    Path(subject): Path<String>,
    Query(query): Query<LevelQuery>,
) -> Answer {
    let store = shared.lock();
    let own = store.own_level(&subject).or_else(|| is_true(&query.default_to_global).then(|| store.level()));
    json_answer(&json!({"compatibilityLevel": own.ok_or(Fault::NoConfiguration(subject))?}))
}
