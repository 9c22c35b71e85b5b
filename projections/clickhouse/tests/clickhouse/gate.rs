//! A gate between a client and the engine. It holds one question back until the test has done what is to happen meanwhile. A
//! client that is dropped there has died there: kill -9, as its database sees it.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
};

#[derive(Default)]
struct Count {
    asked: usize,
    stop: Option<usize>,
}

/// One gate. Dropped, it lets nothing through any more.
pub struct Gate {
    /// What the client takes for the engine.
    pub url: String,
    count: Arc<Mutex<Count>>,
    reached: Arc<Notify>,
    open: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Gate {
    /// In front of the engine at `url`; nothing is held yet.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (count, reached) = (Arc::new(Mutex::new(Count::default())), Arc::new(Notify::new()));
        let (open, opened) = watch::channel(false);
        let own = format!("http://{}", listener.local_addr().unwrap());
        let engine = url.trim_start_matches("http://").to_owned();
        let told = (count.clone(), reached.clone());
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, engine.clone(), told.clone(), opened.clone()));
            }
        });
        Self { url: own, count, reached, open, serving }
    }

    /// Does `work`, of which the nth question, from 0, is not asked before `meanwhile` is done. `None` where it asks fewer.
    pub async fn hold<T>(
        &self,
        nth: usize,
        work: impl Future<Output = T>,
        meanwhile: impl Future<Output = ()>,
    ) -> Option<T> {
        *self.count.lock().unwrap() = Count { asked: 0, stop: Some(nth) };
        let mut work = pin!(work);
        tokio::select! {
            _ = &mut work => return None,
            () = self.reached.notified() => {}
        }
        meanwhile.await;
        self.open.send_replace(true);
        Some(work.await)
    }

    /// Does `work` until it is about to ask its nth question, from 0. Whether it got there.
    pub async fn kill<T>(&self, nth: usize, work: impl Future<Output = T>) -> bool {
        *self.count.lock().unwrap() = Count { asked: 0, stop: Some(nth) };
        tokio::select! {
            _ = work => false,
            () = self.reached.notified() => true,
        }
    }
}

async fn serve(
    mut client: TcpStream,
    engine: String,
    (count, reached): (Arc<Mutex<Count>>, Arc<Notify>),
    mut open: watch::Receiver<bool>,
) -> Option<()> {
    let question = read_question(&mut client).await?;
    let held = {
        let mut count = count.lock().unwrap();
        count.asked += 1;
        count.stop.is_some_and(|nth| nth + 1 == count.asked)
    };
    if held {
        reached.notify_one();
        open.wait_for(|open| *open).await.ok()?;
    }
    let answer = ask(&engine, &question).await?;
    client.write_all(&answer).await.ok()?;
    client.shutdown().await.ok()
}

/// One request as it came, but for that it closes its connection.
async fn read_question(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(client);
    let (mut question, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= lower.starts_with("transfer-encoding:");
        let is_first = question.is_empty();
        question.extend_from_slice(line.as_bytes());
        if is_first {
            question.extend_from_slice(b"Connection: close\r\n");
        }
        if line == "\r\n" {
            break;
        }
    }
    if !chunked {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.ok()?;
        question.extend(body);
        return Some(question);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).await.ok()?;
        question.extend_from_slice(line.as_bytes());
        question.extend(chunk);
        if size == 0 {
            return Some(question);
        }
    }
}

async fn ask(engine: &str, question: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(engine).await.ok()?;
    stream.write_all(question).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let first_line = answer.iter().position(|byte| *byte == b'\n')? + 1;
    answer.splice(first_line..first_line, *b"Connection: close\r\n");
    Some(answer)
}
