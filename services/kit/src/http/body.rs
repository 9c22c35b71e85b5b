//! A request's body that fails when its client no longer sends it.
//!
//! A head may announce a body that never comes, or comes a byte now and then: whoever reads it would wait for ever, and
//! hold the connection. Here the waiting is what a client pays for: it has a time to spend on it, bytes that come earn
//! some of it back, and when it is spent the body fails. The time a handler takes is not the client's: only waiting for
//! bytes that were asked for counts. A request without a body never waits, however long its answer streams.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// What a byte earns: a body that comes at 1,000 bytes a second may take as long as it needs.
const EARNED_BY_A_BYTE: Duration = Duration::from_millis(1);

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError<E> {
    #[error("the client has stopped sending its body")]
    Silent,
    #[error(transparent)]
    Broken(#[from] E),
}

/// Fails when its client is too slow.
pub(super) struct Patient<B> {
    inner: B,
    most: Duration,
    left: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl<B> Patient<B> {
    /// Lets `inner` be waited for as long as `patience`, and longer as its bytes come.
    pub(super) fn new(inner: B, patience: Duration) -> Self {
        Self { inner, most: patience, left: patience, waiting: None }
    }

    /// What was waited is spent, what came is earned.
    fn account(&mut self, bytes: usize) {
        let spent = self.waiting.take().map_or(Duration::ZERO, |waiting| waiting.since.elapsed());
        let earned = EARNED_BY_A_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.left = self.left.saturating_sub(spent).saturating_add(earned).min(self.most);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Patient<B> {
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            let came = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.account(came.map_or(0, Bytes::len));
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        let left = self.left;
        let begin = || Waiting { since: Instant::now(), end: Box::pin(sleep(left)) };
        ready!(self.waiting.get_or_insert_with(begin).end.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Silent)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
