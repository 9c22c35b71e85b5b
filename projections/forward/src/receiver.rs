//! One request to the receiver, and what its answer means.
//!
//! | answer | means |
//! |---|---|
//! | 2xx | delivered |
//! | 401, 403, 407 | our key is wrong: it has not looked at the event; tried again |
//! | 408, 425, 429 | not now; tried again |
//! | other 4xx | it looked at the event and refuses it, for good |
//! | anything else, no answer | tried again |

use std::{
    fmt,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use helix_schemas::names::WorkspaceId;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};

use crate::{
    metrics::Meter,
    options::{Options, OptionsError},
    request::Event,
};

const FACT_ID: HeaderName = HeaderName::from_static("x-helix-fact-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const WORKSPACE: HeaderName = HeaderName::from_static("x-helix-workspace");
const KEY: HeaderName = HeaderName::from_static("x-helix-key");
/// An answer's body is read up to here, so that its connection serves again; nobody looks at it.
const DRAINED: usize = 16 * 1024;
const DRAIN_PATIENCE: Duration = Duration::from_millis(200);

/// What became of one attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    Delivered,
    Refused(u16),
    Failed(Failure),
}

/// An attempt that must be made again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// How long the receiver asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Connection,
    Timeout,
    Status(u16),
}

impl Cause {
    pub(crate) fn label(self) -> String {
        match self {
            Self::Connection => "connection".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Status(status) => status.to_string(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("no connection, or it broke"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Status(status) => write!(f, "answered {status}"),
        }
    }
}

/// A receiver, and how to speak to it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    client: Client,
    base: String,
    timeout: Duration,
    meter: Meter,
}

impl Receiver {
    pub(crate) fn new(workspace: &WorkspaceId, options: &Options, meter: Meter) -> Result<Self, OptionsError> {
        options.check()?;
        let slug = HeaderValue::from_str(workspace.as_str()).map_err(|_| OptionsError::Url)?;
        let mut headers = HeaderMap::from_iter([(WORKSPACE, slug)]);
        headers.extend(options.key_header()?.map(|key| (KEY, key)));
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("helix/", env!("CARGO_PKG_VERSION")))
            // A redirected POST becomes a GET without its body: that would be lost with a 2xx.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(options.timeout)
            .build()
            .map_err(OptionsError::Client)?;
        Ok(Self { client, base: options.base()?, timeout: options.timeout, meter })
    }

    /// Sends an event once.
    pub(crate) async fn send(&self, event: &Event) -> Outcome {
        let mut request = self.client.post(format!("{}{}", self.base, event.path));
        request = request.header(FACT_ID, event.id.to_string());
        for (name, value) in [(CONTENT_TYPE, &event.content_type), (REQUEST_ID, &event.request_id)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let begun = Instant::now();
        // The client's own timeout ends at the body; this one is there for all that comes before.
        let sent = tokio::time::timeout(self.timeout, request.body(event.body.clone()).send()).await;
        self.meter.request(begun.elapsed());
        match sent {
            Ok(Ok(response)) => {
                let outcome = meaning(response.status(), response.headers());
                drain(response).await;
                outcome
            }
            Ok(Err(error)) if error.is_timeout() => failed(Cause::Timeout),
            // Not shown: the client's words may hold the URL.
            Ok(Err(_)) => failed(Cause::Connection),
            Err(_elapsed) => failed(Cause::Timeout),
        }
    }
}

const fn failed(cause: Cause) -> Outcome {
    Outcome::Failed(Failure { cause, retry_after: None })
}

fn meaning(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let code = status.as_u16();
    if status.is_success() {
        return Outcome::Delivered;
    }
    if status.is_client_error() && ![401, 403, 407, 408, 425, 429].contains(&code) {
        return Outcome::Refused(code);
    }
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = asked.and_then(|text| quiet(text, Utc::now()));
    Outcome::Failed(Failure { cause: Cause::Status(code), retry_after })
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3); `None` where it is neither, or asks for nothing.
fn quiet(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now).to_std().ok()?,
    };
    (!asked.is_zero()).then_some(asked)
}

/// Reads what little there is to read; the answer counts either way.
async fn drain(mut response: Response) {
    let reading = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > DRAINED {
                break;
            }
        }
    };
    // What takes longer costs its connection, nothing else.
    let _slow = tokio::time::timeout(DRAIN_PATIENCE, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_decides_about_an_event_only_where_it_looked_at_it() {
        let outcome = |code: u16| match meaning(StatusCode::from_u16(code).unwrap_or_default(), &HeaderMap::new()) {
            Outcome::Delivered => "delivered",
            Outcome::Refused(_) => "refused",
            Outcome::Failed(_) => "again",
        };
        for (codes, expected) in [
            (&[200, 201, 202, 204][..], "delivered"),
            (&[400, 404, 405, 409, 410, 413, 415, 422][..], "refused"),
            (&[301, 302, 307, 401, 403, 407, 408, 425, 429, 500, 502, 503, 504][..], "again"),
        ] {
            for code in codes {
                assert_eq!(outcome(*code), expected, "{code}");
            }
        }
    }

    #[test]
    fn retry_after_is_read_in_both_its_forms() {
        let now = DateTime::parse_from_rfc3339("2026-03-24T08:00:00Z").map(|at| at.to_utc()).unwrap_or_default();
        assert_eq!(quiet("120", now), Some(Duration::from_secs(120)));
        assert_eq!(quiet("Tue, 24 Mar 2026 08:00:30 GMT", now), Some(Duration::from_secs(30)));
        for nothing in ["0", "-1", "soon", "", "Tue, 24 Mar 2026 07:59:00 GMT"] {
            assert_eq!(quiet(nothing, now), None, "{nothing:?}");
        }
    }
}
