//! How one receiver is spoken to, checked before anything is sent.

use std::{fmt, time::Duration};

use reqwest::header::HeaderValue;

/// No delivery begins later than this after its batch was handed over.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// The longest [`Options::timeout`].
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A batch is given back within this time, delivered or not: below the engine's patience with a store.
pub const LONGEST_APPLY: Duration = Duration::from_secs(26);
/// Besides the last attempt there are progress to read and to write.
const _: () = assert!(WINDOW.as_secs() + LONGEST_TIMEOUT.as_secs() < LONGEST_APPLY.as_secs());

/// One receiver.
#[derive(Clone)]
pub struct Options {
    /// Base URL; the paths of the contract are appended to it.
    pub url: String,
    /// Sent as `X-Helix-Key`; empty: none.
    pub key: String,
    /// How long the receiver may take to answer one event. Above 0, at most [`LONGEST_TIMEOUT`].
    pub timeout: Duration,
    /// Requests in flight at once, each of another record key. At least 1.
    pub concurrency: usize,
}

/// Why a receiver cannot be spoken to. Holds neither its URL nor its key.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// It can never be given back in time, or is no time at all.
    #[error("timeout must be above 0 and at most {} s", LONGEST_TIMEOUT.as_secs())]
    Timeout,
    /// Nothing could be sent.
    #[error("concurrency must be at least 1")]
    Concurrency,
    /// It is none that requests can be sent to.
    #[error("url is no http or https URL")]
    Url,
    /// It holds what no header may.
    #[error("key has characters that a header cannot carry")]
    Key,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[source] reqwest::Error),
}

impl fmt::Debug for Options {
    /// Without URL and key: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("timeout", &self.timeout)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The base URL, without a slash at its end.
    pub(crate) fn base(&self) -> Result<String, OptionsError> {
        let base = self.url.trim_end_matches('/');
        let url = reqwest::Url::parse(base).map_err(|_| OptionsError::Url)?;
        // A query would swallow the paths that are appended.
        let good = ["http", "https"].contains(&url.scheme()) && url.query().is_none() && url.fragment().is_none();
        if good { Ok(base.to_owned()) } else { Err(OptionsError::Url) }
    }

    /// The key as a header that no log shows; `None` where there is none.
    pub(crate) fn key_header(&self) -> Result<Option<HeaderValue>, OptionsError> {
        if self.key.is_empty() {
            return Ok(None);
        }
        let mut value = HeaderValue::from_str(&self.key).map_err(|_| OptionsError::Key)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Whether a receiver can be spoken to like this.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.base()?;
        self.key_header()?;
        if self.timeout.is_zero() || self.timeout > LONGEST_TIMEOUT {
            return Err(OptionsError::Timeout);
        }
        if self.concurrency == 0 {
            return Err(OptionsError::Concurrency);
        }
        Ok(())
    }
}
