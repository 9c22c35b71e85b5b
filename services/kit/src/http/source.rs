//! Where a request comes from, where gateways of ours stand between.
//!
//! Each gateway appends to `X-Forwarded-For` whom it was spoken to by, so the list is to be believed from its end, for
//! as long as the one who appended is ours. What stands before that is a client's own word, and is not read.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The peer, or where it is one of `trusted` the last address in `X-Forwarded-For` that is not. Where there is none, or
/// what a gateway of ours should have written cannot be read: the peer.
#[must_use]
pub fn source_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let ours = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    if !ours(peer) {
        return peer;
    }
    // A header that was sent in several lines is one list.
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
            match std::str::from_utf8(entry).ok().and_then(|entry| address(entry.trim())) {
                None => return peer,
                Some(address) if ours(address) => {}
                Some(address) => return address,
            }
        }
    }
    peer
}

/// An address, with or without the port that some gateways add.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}
