//! What is sent for a fact: the provider's own request, as near as what was kept of it allows.
//!
//! Sent are facts that the provider told us, with their raw bytes; what Helix decided or entered itself is not the older
//! contract's. The body is as received, secrets removed.

use std::fmt;

use bytes::Bytes;
use helix_runtime::Offset;
use helix_schemas::{fact::Fact, id::FactId};
use reqwest::header::HeaderValue;

/// Whose facts the older contract knows.
const PROVIDER: &str = "ozonetel";
/// A callback that came by the path with the workspace in it goes to the path without: the receiver has but one.
const WORKSPACE_PREFIX: &str = "/workspaces/{workspace}";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One event on its way. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) partition: i32,
    pub(crate) offset: Offset,
    pub(crate) id: FactId,
    pub(crate) path: String,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

impl fmt::Debug for Event {
    /// Coordinates only: the body holds personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Event {
    /// What is to be sent for a fact; `None` where it is nothing that the provider sent.
    pub(crate) fn of(partition: i32, offset: Offset, fact: Fact) -> Option<Self> {
        if fact.provider != PROVIDER || fact.raw.is_empty() {
            return None;
        }
        let endpoint = &fact.source.endpoint;
        Some(Self {
            partition,
            offset,
            id: fact.id,
            path: endpoint.strip_prefix(WORKSPACE_PREFIX).unwrap_or(endpoint).to_owned(),
            content_type: content_type(&fact.raw_content_type, &fact.raw),
            request_id: header(&fact.source.request_id),
            body: fact.raw.into(),
        })
    }
}

/// Empty, or what no header may hold: none.
fn header(text: &str) -> Option<HeaderValue> {
    (!text.is_empty()).then(|| HeaderValue::from_str(text).ok()).flatten()
}

/// As it came; only an event that was cut out of a form's batch is called what it is now, a JSON object.
fn content_type(given: &str, raw: &[u8]) -> Option<HeaderValue> {
    let form = given.get(..FORM.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORM));
    if form && raw.trim_ascii_start().starts_with(b"{") { Some(JSON) } else { header(given) }
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn content_types_are_as_they_came_but_for_an_object_out_of_a_forms_batch() {
        let told = |given, raw: &str| content_type(given, raw.as_bytes()).map(|value| value.as_bytes().to_owned());
        let form = "application/x-www-form-urlencoded; charset=UTF-8";
        assert_eq!(told(form, "data=%7B%7D").as_deref(), Some(form.as_bytes()));
        assert_eq!(told(form, " {\"a\":1}").as_deref(), Some(&b"application/json"[..]));
        assert_eq!(told("text/plain", "{}").as_deref(), Some(&b"text/plain"[..]));
        assert_eq!(told("", "{}"), None);
        assert_eq!(told("a\nb", "{}"), None);
    }
}
