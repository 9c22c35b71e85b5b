//! Asking a component whether it serves. Nothing here needs more than a socket; a probe never changes anything.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A probe is given up after this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// How to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Probe {
    /// That the process runs is all there is to know.
    Running,
    /// `GET path` must give this status.
    Http {
        /// Where.
        address: SocketAddr,
        /// What to get.
        path: String,
        /// What to expect.
        status: u16,
    },
    /// Must answer `PING`.
    Redis {
        /// Where.
        address: SocketAddr,
        /// File with the password.
        password: PathBuf,
    },
    /// Must ask for a password rather than say that it is starting.
    Postgres {
        /// Where.
        address: SocketAddr,
    },
    /// Must tell its API versions.
    Kafka {
        /// Where.
        address: SocketAddr,
    },
}

impl Probe {
    /// Asks once.
    ///
    /// # Errors
    /// What it said instead, in a few words.
    pub async fn ask(&self) -> Result<(), String> {
        let asked = timeout(PATIENCE, async {
            match self {
                Self::Running => Ok(()),
                Self::Http { address, path, status } => http(*address, path, *status).await,
                Self::Redis { address, password } => redis(*address, password).await,
                Self::Postgres { address } => postgres(*address).await,
                Self::Kafka { address } => kafka(*address).await,
            }
        });
        asked.await.unwrap_or_else(|_| Err(format!("it does not answer within {} s", PATIENCE.as_secs())))
    }
}

async fn exchange(address: SocketAddr, request: &[u8], answer: &mut [u8]) -> Result<usize, String> {
    let words = |error: std::io::Error| format!("{address}: {error}");
    let mut socket = TcpStream::connect(address).await.map_err(words)?;
    socket.write_all(request).await.map_err(words)?;
    socket.read(answer).await.map_err(words)
}

async fn http(address: SocketAddr, path: &str, status: u16) -> Result<(), String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let words = |error: std::io::Error| format!("{address}: {error}");
    let mut socket = TcpStream::connect(address).await.map_err(words)?;
    socket.write_all(request.as_bytes()).await.map_err(words)?;
    let mut answer = Vec::new();
    socket.take(4096).read_to_end(&mut answer).await.map_err(words)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let given = answer.split_whitespace().nth(1).unwrap_or("nothing");
    if given.parse() == Ok(status) {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
    Err(format!("GET {path} gave {given}: {}", body.chars().take(300).collect::<String>()))
}

async fn redis(address: SocketAddr, password: &std::path::Path) -> Result<(), String> {
    let password = std::fs::read_to_string(password).map_err(|error| format!("its password: {error}"))?;
    let request = format!("AUTH {}\r\nPING\r\n", password.trim());
    let words = |error: std::io::Error| format!("{address}: {error}");
    let mut socket = TcpStream::connect(address).await.map_err(words)?;
    socket.write_all(request.as_bytes()).await.map_err(words)?;
    let mut answer = String::new();
    let mut bytes = [0_u8; 256];
    // Two lines, one an answer.
    while answer.lines().count() < 2 || !answer.ends_with('\n') {
        let count = socket.read(&mut bytes).await.map_err(words)?;
        if count == 0 {
            break;
        }
        answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    if answer.contains("+PONG") { Ok(()) } else { Err(answer.trim().to_owned()) }
}

/// A start-up message is answered by `R` (authenticate) once connections are taken, by `E` before.
async fn postgres(address: SocketAddr) -> Result<(), String> {
    let mut message = Vec::new();
    message.extend_from_slice(&196_608_u32.to_be_bytes());
    message.extend_from_slice(b"user\0helix_admin\0database\0postgres\0\0");
    let length = u32::try_from(message.len() + 4).unwrap_or_default();
    let request: Vec<u8> = length.to_be_bytes().into_iter().chain(message).collect();
    let mut answer = [0_u8; 512];
    let count = exchange(address, &request, &mut answer).await?;
    match answer.first() {
        Some(b'R') if count > 0 => Ok(()),
        Some(_) | None => Err(format!("it takes no connections yet: {}", readable(&answer[..count]))),
    }
}

/// `ApiVersions` v0 with correlation id 1 and no client id; the broker answers it once it serves.
async fn kafka(address: SocketAddr) -> Result<(), String> {
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let mut answer = [0_u8; 16];
    let count = exchange(address, &REQUEST, &mut answer).await?;
    if count >= 8 && answer[4..8] == [0, 0, 0, 1] { Ok(()) } else { Err("it does not serve yet".to_owned()) }
}

fn readable(bytes: &[u8]) -> String {
    bytes.iter().filter(|byte| byte.is_ascii_graphic() || **byte == b' ').map(|byte| char::from(*byte)).collect()
}
