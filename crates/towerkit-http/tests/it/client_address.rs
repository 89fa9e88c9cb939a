//! The address of the client behind proxies, and in spite of forged headers.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderValue};
use towerkit_http::{ClientAddress, PeerAddress};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn found(client: &ClientAddress, peer: &str, field: &'static str, lines: &[&str]) -> IpAddr {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(field, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    let mut extensions = Extensions::new();
    extensions.insert(PeerAddress(SocketAddr::new(ip(peer), 443)));
    client.find(&headers, &extensions).unwrap()
}

fn behind(peer: &str, lines: &[&str]) -> IpAddr {
    let client = ClientAddress::new()
        .trust(["10.0.0.0/8", "fd00::/8"])
        .unwrap();
    found(&client, peer, "x-forwarded-for", lines)
}

fn forwarded(lines: &[&str]) -> IpAddr {
    let client = ClientAddress::new()
        .trust(["10.0.0.0/8", "fd00::/8"])
        .unwrap();
    found(&client.forwarded(), "10.0.0.1", "forwarded", lines)
}

/// RL-10
#[test]
fn a_peer_that_is_not_trusted_cannot_choose_its_address() {
    for i in 0..1000 {
        let line = format!("{}.{}.1.1, 10.0.0.2", i % 256, i / 256);
        assert_eq!(behind("203.0.113.9", &[&line]), ip("203.0.113.9"));
        let nobody = ClientAddress::new();
        assert_eq!(
            found(&nobody, "10.0.0.1", "x-forwarded-for", &[&line]),
            ip("10.0.0.1")
        );
    }
}

/// RL-11
#[test]
fn the_rightmost_address_that_is_not_trusted_is_the_client() {
    let client = ip("203.0.113.7");
    for lines in [
        &["1.1.1.1, 203.0.113.7, 10.0.0.2"][..],
        &["1.1.1.1", "203.0.113.7", "10.0.0.2"],
        &["1.1.1.1,203.0.113.7 ,, 10.0.0.2:8080,[fd00::1]:443,fd00::2,"],
        &["\"", "\\\", 203.0.113.7"],
        &["203.0.113.7:1234"],
        &["::ffff:203.0.113.7, ::ffff:10.0.0.2"],
    ] {
        assert_eq!(behind("10.0.0.1", lines), client, "{lines:?}");
        assert_eq!(behind("::ffff:10.0.0.1", lines), client, "{lines:?}");
    }
    assert_eq!(
        behind("10.0.0.1", &["2001:db8::1, fd00::1"]),
        ip("2001:db8::1")
    );
}

#[test]
fn an_invalid_entry_makes_its_proxy_the_client() {
    for line in [
        "unknown",
        "1.2.3.4.5",
        "203.0.113.7, unknown",
        "10.0.0.2/8",
        "\u{fffd}",
        "[10.0.0.2]",
    ] {
        assert_eq!(behind("10.0.0.1", &[line]), ip("10.0.0.1"), "{line}");
    }
    assert_eq!(behind("10.0.0.1", &["evil, 10.0.0.2"]), ip("10.0.0.2"));
    assert_eq!(behind("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), ip("10.0.0.3"));
    assert_eq!(behind("10.0.0.1", &[]), ip("10.0.0.1"));
}

/// RL-11, RFC 7239
#[test]
fn forwarded_is_parsed_in_all_its_forms() {
    for line in [
        "for=1.1.1.1, for=203.0.113.7, for=10.0.0.2",
        "for=1.1.1.1,For=\"203.0.113.7:47011\";proto=https;by=10.0.0.2",
        "by=1.1.1.1;FOR = \"203.0.113.7\"",
        "for=\"_x, for=203.0.113.7;host=\"a, for=9.9.9.9\"",
        "for=203.0.113.7;host=\"a\\\", for=9.9.9.9\"",
        "for=203.0.113.7;host=\"a\\\\\"",
        "for=\"203.0.113.7:_obf\"",
        "for=\"203.0.113.7:_o.b-f_1\";by=_me",
        "for=\"203\\.0.113.\\7\"",
        "for=\"\\203.0.113.7:\\_obf\"",
    ] {
        assert_eq!(forwarded(&[line]), ip("203.0.113.7"), "{line}");
    }
    assert_eq!(forwarded(&["for=\"[2001:db8::1]:80\""]), ip("2001:db8::1"));
    assert_eq!(
        forwarded(&["for=\"[2001:db8::1]:_obf\""]),
        ip("2001:db8::1")
    );
    for line in [
        "for=\"203.0.113.7:_\"",
        "for=\"203.0.113.7:obf\"",
        "for=\"203.0.113.7:_o b\"",
        "for=\"203.0.113.7\\\"",
        "for=_hidden",
        "for=unknown",
        "proto=https",
        "for=9.9.9.9;for=8.8.8.8",
        "for=\"9.9.9.9",
    ] {
        assert_eq!(forwarded(&[line]), ip("10.0.0.1"), "{line}");
    }
}

#[test]
fn only_the_chosen_header_is_read() {
    let client = ClientAddress::new().trust(["10.0.0.1"]).unwrap();
    let of = |client: &ClientAddress, field| found(client, "10.0.0.1", field, &["for=9.9.9.9"]);
    assert_eq!(of(&client, "forwarded"), ip("10.0.0.1"));
    let client = client.forwarded();
    assert_eq!(of(&client, "forwarded"), ip("9.9.9.9"));
    assert_eq!(
        found(&client, "10.0.0.1", "x-forwarded-for", &["9.9.9.9"]),
        ip("10.0.0.1")
    );
}

/// RL-12
#[test]
fn an_ipv6_network_counts_as_one_client() {
    let client = ClientAddress::new();
    let network = |address| client.network_of(ip(address));
    assert_eq!(
        network("2001:db8:0:1::"),
        network("2001:db8:0:1:ffff:ffff:ffff:ffff")
    );
    assert_ne!(network("2001:db8:0:1::"), network("2001:db8:0:2::"));
    assert_eq!(network("::ffff:1.2.3.4"), ip("1.2.3.4"));
    assert_ne!(network("1.2.3.4"), network("1.2.3.5"));
    let exact = client.clone().ipv6_prefix(128).unwrap();
    assert_eq!(exact.network_of(ip("2001:db8::1")), ip("2001:db8::1"));
    let coarse = client.ipv6_prefix(32).unwrap();
    assert_eq!(coarse.network_of(ip("2001:db8:1::1")), ip("2001:db8::"));
}

#[test]
fn a_network_matches_by_its_prefix() {
    let trusts = |network: &str, peer: &str| {
        let client = ClientAddress::new().trust([network]).unwrap();
        found(&client, peer, "x-forwarded-for", &["9.9.9.9"]) == ip("9.9.9.9")
    };
    for (network, inside, outside) in [
        ("10.1.2.3/8", "10.255.255.255", "11.0.0.0"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
        ("192.168.128.0/17", "192.168.128.0", "192.168.127.255"),
        ("fd00::/8", "fdff::1", "fe00::"),
        ("::1", "::1", "::2"),
        ("0.0.0.0/0", "1.2.3.4", "::1"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
    ] {
        assert!(trusts(network, inside), "{network} holds {inside}");
        assert!(
            !trusts(network, outside),
            "{network} does not hold {outside}"
        );
    }
    assert!(trusts("::/0", "1.2.3.4"));
}

/// T-07
#[test]
fn invalid_settings_are_typed_errors() {
    for network in [
        "",
        "10.0.0.0/33",
        "::/129",
        "10.0.0/8",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "all",
        "10.0.0.0/-1",
    ] {
        let error = ClientAddress::new().trust([network]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "invalid trusted proxy {network:?}: expected an address or a network such as 10.0.0.0/8"
            )
        );
    }
    assert!(ClientAddress::new().ipv6_prefix(0).is_err());
    assert!(ClientAddress::new().ipv6_prefix(129).is_err());
}

#[test]
fn without_a_peer_there_is_no_client() {
    let client = ClientAddress::new().trust(["0.0.0.0/0"]).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("9.9.9.9"));
    assert_eq!(client.find(&headers, &Extensions::new()), None);
}

#[cfg(feature = "axum")]
#[test]
fn the_peer_is_read_from_axums_connect_info() {
    let mut extensions = Extensions::new();
    extensions.insert(axum::extract::ConnectInfo(SocketAddr::new(
        ip("::ffff:1.2.3.4"),
        80,
    )));
    let found = ClientAddress::new().find_network(&HeaderMap::new(), &extensions);
    assert_eq!(found, Some(ip("1.2.3.4")));
}
