//! Errors over HTTP: `application/problem+json` (RFC 9457) with a stable code.
//!
//! A handler returns a [`Problem`]; [`crate::http::finish`] writes it out with the request's id. Every code has a page
//! in docs/errors. A detail never carries a body, a number, a name or a secret (law 9).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// What went wrong, for the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Stable, snake_case; the name of its page in docs/errors.
    pub code: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// One short sentence, the same for every occurrence of the code.
    pub title: &'static str,
    /// What is particular to this occurrence.
    pub detail: String,
    /// Seconds, for 429 and 503.
    pub retry_after: Option<u32>,
    /// Further members, as `rejectedId` or `conflicts`.
    pub members: Map<String, Value>,
}

impl Problem {
    /// A problem without further members.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { code, status, title, detail: detail.into(), retry_after: None, members: Map::new() }
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 404 for a path nothing answers.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_path",
            "Nothing is at this path",
            "check the path against the contract",
        )
    }

    /// 405.
    #[must_use]
    pub fn no_such_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "no_such_method",
            "This path does not take this method",
            "check the method against the contract",
        )
    }

    /// 503: a component we need does not answer. Our failure, never a 4xx.
    #[must_use]
    pub fn component_down(component: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "component_down",
            "A component that is needed does not answer",
            format!("{component} does not answer; nothing was lost that was acknowledged"),
        )
        .retry_after(2)
    }

    /// The body, with the request's id.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:helix:error:{}", self.code),
            "code": self.code,
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "requestId": request_id,
        });
        if let Some(object) = body.as_object_mut() {
            object.extend(self.members.clone());
        }
        body
    }

    /// Writes it out.
    #[must_use]
    pub fn render(&self, request_id: &str) -> Response {
        let mut response = (self.status, self.body(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// An empty response that carries the problem to [`crate::http::finish`].
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
