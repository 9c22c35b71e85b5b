//! A keep-alive HTTP/1.1 connection that never repeats a request by itself: a connection that breaks is a finding.

use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::delivery::Delivery;

/// Longer than ingest's own deadline.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub body: Bytes,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// Where nobody listens.
    pub async fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host).await.with_context(|| format!("nobody listens on {host}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end is seen by the sender.
        tokio::spawn(connection);
        Ok(Self { host: host.to_owned(), sender })
    }

    /// Whether the other side has closed it, between two requests.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Posts a delivery and reads its answer.
    ///
    /// # Errors
    /// Where the connection breaks, or no answer comes.
    pub async fn post(&mut self, delivery: &Delivery) -> Result<Answer> {
        let mut request = Request::post(&delivery.path).header(header::HOST, &self.host);
        for (name, value) in [
            ("x-helix-key", delivery.key.as_deref()),
            ("x-helix-workspace", delivery.workspace.as_deref()),
            ("content-type", delivery.content_type),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(Bytes::from(delivery.body.clone())))?;
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status().as_u16();
            let retry_after =
                response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer { status, retry_after: retry_after.map(Duration::from_secs), body })
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        answer.with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))?.context("the connection broke")
    }
}
