//! One delivery to its final answer: posts, and repeats where repeating can help.
//!
//! Repeats 429, 502, 503, 504 and everything that went wrong with the connection; the ingest's ids absorb a repeat of
//! what had arrived after all. Any other answer is final and counted. A refusal of the key or the workspace ends the run:
//! it would meet every further delivery too.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde::Deserialize;

use super::{SimulateError, tally::Tally};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// A `Retry-After` beyond this is cut: a demo is being watched.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A way to the ingest.
#[derive(Debug, Clone)]
pub(super) struct Poster {
    pub(super) client: Client,
    pub(super) base: String,
    pub(super) patience: Duration,
}

/// A request to send.
pub(super) struct Request<'a> {
    pub(super) at: u64,
    pub(super) path: &'a str,
    pub(super) key: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
}

#[derive(Deserialize)]
struct Accepted {
    results: Vec<ItemResult>,
}

#[derive(Deserialize)]
struct ItemResult {
    status: String,
}

impl Poster {
    pub(super) fn new(base: &str, patience: Duration) -> Result<Self, SimulateError> {
        let client = Client::builder()
            .timeout(Duration::from_secs(30))
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .map_err(SimulateError::Client)?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), patience })
    }

    /// Waits until anything answers HTTP there.
    pub(super) async fn wait_reachable(&self, patience: Duration) -> Result<(), SimulateError> {
        let (began, mut backoff) = (Instant::now(), FIRST_BACKOFF);
        loop {
            match self.client.get(format!("{}/livez", self.base)).send().await {
                Ok(_) => return Ok(()),
                Err(_) if began.elapsed() + backoff < patience => {}
                Err(source) => return Err(self.unreachable(began, Some(source))),
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Posts until there is a final answer, and counts it.
    pub(super) async fn deliver(&self, request: &Request<'_>, tally: &Tally) -> Result<(), SimulateError> {
        let url = format!("{}{}", self.base, request.path);
        let (mut failing_since, mut backoff) = (None, FIRST_BACKOFF);
        loop {
            let began = Instant::now();
            let answer = self
                .client
                .post(&url)
                .header("X-Helix-Key", request.key)
                .header("Content-Type", request.content_type)
                .body(request.body.to_vec())
                .send()
                .await;
            let mut pause = backoff;
            let trouble = match answer {
                Ok(answer) if is_worth_repeating(answer.status()) => {
                    pause = retry_after(&answer).unwrap_or(backoff);
                    None
                }
                Ok(answer) => match self.settle(request, tally, began, answer).await {
                    Ok(settled) => return settled,
                    Err(source) => Some(source),
                },
                Err(source) => Some(source),
            };
            let since = *failing_since.get_or_insert(began);
            if since.elapsed() + pause >= self.patience {
                return Err(self.unreachable(since, trouble));
            }
            tally.retry();
            tokio::time::sleep(pause).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Reads and counts a final answer. The outer error: the connection broke while reading, so it is not known.
    async fn settle(
        &self,
        request: &Request<'_>,
        tally: &Tally,
        began: Instant,
        answer: reqwest::Response,
    ) -> Result<Result<(), SimulateError>, reqwest::Error> {
        let status = answer.status();
        let body = answer.bytes().await?;
        let accepted =
            (status == StatusCode::ACCEPTED).then(|| serde_json::from_slice::<Accepted>(&body).ok()).flatten();
        let results = accepted.map(|accepted| accepted.results.into_iter().map(|result| result.status).collect());
        let microseconds = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tally.answer(request.at, status.as_u16(), results, microseconds);
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&status);
        Ok(if refused {
            Err(SimulateError::Refused { status: status.as_u16(), path: request.path.to_owned() })
        } else {
            Ok(())
        })
    }

    fn unreachable(&self, since: Instant, source: Option<reqwest::Error>) -> SimulateError {
        SimulateError::Unreachable { url: self.base.clone(), seconds: since.elapsed().as_secs(), source }
    }
}

fn is_worth_repeating(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}

fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}
