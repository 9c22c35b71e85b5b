//! Whom a request comes from.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header::HeaderName};
use helix_kit::{config::network, http::source_address};

/// The source of a request from `peer` with these lines of `X-Forwarded-For`.
fn source(peer: &str, lines: &[&str]) -> String {
    let trusted = ["127.0.0.0/8", "::1", "10.1.0.0/16"].map(|text| network(text).unwrap());
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    source_address(peer.parse::<IpAddr>().unwrap(), &headers, &trusted).to_string()
}

#[test]
fn a_header_is_believed_only_from_its_end_and_only_of_our_gateways() {
    let table: &[(&str, &[&str], &str, &str)] = &[
        ("203.0.113.7", &[], "203.0.113.7", "no gateway"),
        ("203.0.113.7", &["198.51.100.1"], "203.0.113.7", "a client that forwards itself is not believed"),
        ("127.0.0.1", &[], "127.0.0.1", "a gateway that says nothing"),
        ("127.0.0.1", &["203.0.113.7"], "203.0.113.7", "one gateway"),
        ("127.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7", "what a client wrote before is not read"),
        ("127.0.0.1", &["127.0.0.1, 203.0.113.7"], "203.0.113.7", "nor where it names one of ours"),
        ("127.0.0.1", &["203.0.113.7, 10.1.2.3"], "203.0.113.7", "two gateways of ours"),
        ("127.0.0.1", &["203.0.113.7", "10.1.2.3"], "203.0.113.7", "two lines are one list"),
        ("127.0.0.1", &["203.0.113.7, 10.2.0.1"], "10.2.0.1", "an inner address that is not a gateway"),
        ("127.0.0.1", &["10.1.2.3, 127.0.0.1"], "127.0.0.1", "none but ours"),
        ("127.0.0.1", &["junk"], "127.0.0.1", "malformed"),
        ("127.0.0.1", &["203.0.113.7, "], "127.0.0.1", "an empty entry"),
        ("127.0.0.1", &["203.0.113.7, unknown, 10.1.2.3"], "127.0.0.1", "malformed before one of ours"),
        ("127.0.0.1", &["junk, 203.0.113.7"], "203.0.113.7", "malformed where nobody reads"),
        ("127.0.0.1", &["\u{fffd}, 203.0.113.7"], "203.0.113.7", "bytes that are no text, where nobody reads"),
        ("127.0.0.1", &["203.0.113.7, \u{fffd}"], "127.0.0.1", "bytes that are no text"),
        ("127.0.0.1", &["203.0.113.7:4711"], "203.0.113.7", "with a port"),
        ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1", "IPv6 with a port"),
        ("::1", &["2001:db8::1"], "2001:db8::1", "IPv6"),
        ("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7", "a gateway seen by a socket of both families"),
        ("::ffff:203.0.113.7", &[], "203.0.113.7", "a client seen by a socket of both families"),
        ("127.0.0.1", &["203.0.113.7, ::ffff:10.1.2.3"], "203.0.113.7", "a gateway of ours in that form"),
        ("127.0.0.1", &["  203.0.113.7\t"], "203.0.113.7", "blanks"),
    ];
    for (peer, lines, expected, why) in table {
        assert_eq!(source(peer, lines), *expected, "{why}: {peer} {lines:?}");
    }
}

#[test]
fn a_network_is_an_address_or_a_prefix_and_nothing_else() {
    for good in ["203.0.113.7", "203.0.113.0/24", "::1", "2001:db8::/32", "0.0.0.0/0"] {
        assert!(network(good).is_some(), "{good}");
    }
    for bad in ["", "203.0.113", "203.0.113.0/33", "203.0.113.0/", "localhost", "203.0.113.7:80", " 203.0.113.7", "*"] {
        assert!(network(bad).is_none(), "{bad}");
    }
    assert!(network("203.0.113.7/24").unwrap().contains(&"203.0.113.200".parse::<IpAddr>().unwrap()));
}
