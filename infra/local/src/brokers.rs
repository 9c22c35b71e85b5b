//! Hears why brokers and we cannot agree on a connection.
//!
//! librdkafka tries again for ever and says in the end only that time ran out. What it reports meanwhile tells a broker
//! that is down, for which waiting is right, from a certificate or a password that will never do.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rdkafka::{
    client::ClientContext,
    config::ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer},
};
use tokio::sync::Notify;

/// How OpenSSL tells that the other side has refused.
const ALERT: &str = "SSL alert number";

/// What a client of its own is told; an admin client reports nothing.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    reason: Mutex<Option<String>>,
    heard: Notify,
}

impl Ear {
    /// Begins to ask the brokers who they are, for at most `patience`.
    pub(crate) fn open(settings: &ClientConfig, patience: Duration) -> Result<Arc<Self>, KafkaError> {
        let client: ThreadedProducer<Self, NoCustomPartitioner> = settings.create_with_context(Self::default())?;
        let ear = client.client().context().clone();
        // A thread of nobody's: asking blocks, and whoever has heard enough need not wait for its end.
        thread::spawn(move || {
            // The answer is no matter: connecting is.
            let _metadata = client.client().fetch_metadata(None, patience);
        });
        Ok(ear)
    }

    /// Resolves once a broker and we disagree, with the reason.
    pub(crate) async fn disagreement(&self) -> String {
        loop {
            let heard = self.heard.notified();
            if let Some(reason) = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                return reason;
            }
            heard.await;
        }
    }
}

impl ClientContext for Ear {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the brokers were asked who they are");
        let final_word = matches!(error, KafkaError::Global(RDKafkaErrorCode::SSL | RDKafkaErrorCode::Authentication));
        // A broker that wants our certificate says so after the handshake, and ends the connection.
        if final_word || reason.contains(ALERT) {
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(without_time(reason).to_owned());
            self.heard.notify_waiters();
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Ear {
    type DeliveryOpaque = ();

    fn delivery(&self, _delivery: &DeliveryResult<'_>, (): ()) {}
}

/// Without "(after 5ms in state SSL_HANDSHAKE)".
fn without_time(reason: &str) -> &str {
    reason.rsplit_once(" (after ").map_or(reason, |(reason, _)| reason)
}
