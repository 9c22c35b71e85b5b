//! Connections that end when their reader has stopped reading.
//!
//! HTTP has no word for "I am not reading": the socket's buffers fill, writes wait, and the connection would be held for
//! ever. Here a write that makes no progress for [`STALL`] fails, which ends the connection; a client that still lives
//! comes back and resumes.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

/// How long a write may make no progress.
pub(crate) const STALL: Duration = Duration::from_secs(10);

/// Accepts connections that end when they stall.
pub(crate) struct StallListener {
    inner: TcpListener,
    limit: Duration,
}

impl StallListener {
    pub(crate) fn new(inner: TcpListener, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl Listener for StallListener {
    type Io = StallStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (StallStream, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.inner).await;
        // A delta is one small write: it must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was lost as it was accepted");
        }
        (StallStream { inner: stream, limit: self.limit, stalled: None }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, StallListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, StallListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection that ends when it stalls.
pub(crate) struct StallStream {
    inner: TcpStream,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl StallStream {
    /// Progress clears the timer; waiting starts it, and fails when it is up.
    fn judge<T>(&mut self, outcome: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let limit = self.limit;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        timer.as_mut().reset(Instant::now() + limit);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped reading")))
    }
}

impl AsyncRead for StallStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for StallStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_write_fails_when_the_reader_has_stopped_and_not_while_it_reads() {
        let limit = Duration::from_millis(400);
        let mut listener = StallListener::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), limit);
        let address = listener.local_addr().unwrap();
        let reader = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut buffer = vec![0; 1 << 20];
            for _ in 0..4 {
                sleep(limit / 2).await;
                stream.read_exact(&mut buffer).await.unwrap();
            }
            sleep(limit * 10).await;
        });
        let (mut stream, _) = listener.accept().await;
        let piece = vec![0; 1 << 20];
        for _ in 0..4 {
            stream.write_all(&piece).await.unwrap();
        }
        let failure = loop {
            if let Err(error) = stream.write_all(&piece).await {
                break error;
            }
        };
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
        reader.abort();
    }
}
