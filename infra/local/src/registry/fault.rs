//! The registry's errors, with the numbers that Confluent's clients know.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::store::StoreError;

/// The content type of every answer.
pub(super) const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What went wrong, for a client.
#[derive(Debug)]
pub(super) enum Fault {
    NoSuchPath,
    NoSubject(String),
    NoVersion(String),
    NoSchema,
    NoConfiguration(String),
    NotJson(String),
    BadSchema(String),
    BadVersion(String),
    BadLevel(String),
    Incompatible(String),
    NeverDeleted,
    Store(StoreError),
}

impl Fault {
    /// HTTP status and Confluent's code.
    const fn numbers(&self) -> (StatusCode, u32) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, 404),
            Self::NoSubject(_) => (StatusCode::NOT_FOUND, 40_401),
            Self::NoVersion(_) => (StatusCode::NOT_FOUND, 40_402),
            Self::NoSchema => (StatusCode::NOT_FOUND, 40_403),
            Self::NoConfiguration(_) => (StatusCode::NOT_FOUND, 40_408),
            Self::NotJson(_) => (StatusCode::BAD_REQUEST, 400),
            Self::BadSchema(_) => (StatusCode::UNPROCESSABLE_ENTITY, 42_201),
            Self::BadVersion(_) => (StatusCode::UNPROCESSABLE_ENTITY, 42_202),
            Self::BadLevel(_) => (StatusCode::UNPROCESSABLE_ENTITY, 42_203),
            Self::NeverDeleted => (StatusCode::UNPROCESSABLE_ENTITY, 42_205),
            Self::Incompatible(_) => (StatusCode::CONFLICT, 409),
            Self::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, 50_001),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NoSuchPath => "nothing is at this path".to_owned(),
            Self::NoSubject(subject) => format!("Subject '{subject}' not found."),
            Self::NoVersion(version) => format!("Version {version} not found."),
            Self::NoSchema => "Schema not found".to_owned(),
            Self::NoConfiguration(subject) => {
                format!("Subject '{subject}' does not have subject-level compatibility configured")
            }
            Self::NotJson(reason) => format!("the body is not what this path takes: {reason}"),
            Self::BadSchema(reason) => format!("Invalid schema: {reason}"),
            Self::BadVersion(version) => {
                format!("The specified version '{version}' is not a valid version id: a positive number or 'latest'")
            }
            Self::BadLevel(level) => format!("Invalid compatibility level {level:?}"),
            Self::Incompatible(reason) => {
                format!("Schema being registered is incompatible with an earlier schema: {reason}")
            }
            Self::NeverDeleted => "nothing is ever deleted here: records in the log refer to schemas by id, for ever; \
                                   stop the stack and run `helix clean` to begin anew"
                .to_owned(),
            Self::Store(error) => error.to_string(),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, code) = self.numbers();
        if let Self::Store(error) = &self {
            tracing::error!(%error, "the registry cannot store");
        }
        let body = json!({"error_code": code, "message": self.message()}).to_string();
        (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
    }
}
