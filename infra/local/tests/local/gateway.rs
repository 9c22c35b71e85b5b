//! The gateway, by Caddy itself with the repository's Caddyfile, before an upstream that says what it was told.

use std::{
    future::pending,
    net::{IpAddr, SocketAddr},
};

use axum::{Router, extract::ConnectInfo, http::HeaderMap};
use helix_kit::{
    config::network,
    http::{Limits, serve, source_address},
};
use tokio::net::TcpListener;

use crate::command::Stack;

#[tokio::test]
async fn a_client_is_not_believed_about_where_it_comes_from() {
    let stack = Stack::up("gateway");
    let ingest = stack.variable("HELIX_INGEST_URL");
    let listener = TcpListener::bind(ingest.trim_start_matches("http://")).await.unwrap();
    let source = async |ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap| {
        let gateway = [network("127.0.0.1").unwrap()];
        source_address(peer.ip(), &headers, &gateway).to_string()
    };
    tokio::spawn(serve(listener, Router::new().fallback(source), Limits::default(), pending()));

    let gateway = stack.variable("HELIX_GATEWAY_URL");
    let port = gateway.rsplit(':').next().unwrap().to_owned();
    // Not the gateway's own address, so that the two cannot be taken for each other.
    let client = reqwest::Client::builder().local_address("127.0.0.2".parse::<IpAddr>().unwrap()).build().unwrap();
    for (host, path) in [("telephony", "/api/supervisor/agent-event"), ("ramaiah", "/webhooks/ozonetel/missed-call")] {
        for claim in [None, Some("203.0.113.9"), Some("127.0.0.1"), Some("203.0.113.9, 127.0.0.1"), Some("junk")] {
            let mut request =
                client.post(format!("{gateway}{path}")).header("host", format!("{host}.engage.localhost:{port}"));
            if let Some(claim) = claim {
                request = request.header("x-forwarded-for", claim);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{host}{path}");
            assert_eq!(answer.text().await.unwrap(), "127.0.0.2", "{host}{path}, claimed {claim:?}");
        }
    }
}
