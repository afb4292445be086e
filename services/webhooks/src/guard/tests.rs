//! Which addresses are public, and which a setting opens.

use super::*;

fn guard(allowed: &[&str]) -> Guard {
    Guard::new(&allowed.iter().map(|range| (*range).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn kind(guard: &Guard, address: &str) -> Option<&'static str> {
    guard.judge(address.parse().unwrap()).err().map(|refused| refused.kind)
}

/// Guard: without, a message reaches what trusts its own network.
#[test]
fn only_public_addresses_are_let_through() {
    let refused = [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "shared by carriers"),
        ("100.127.255.255", "shared by carriers"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("192.0.0.170", "reserved"),
        ("192.0.2.1", "for documentation"),
        ("198.51.100.1", "for documentation"),
        ("203.0.113.1", "for documentation"),
        ("192.88.99.1", "a relay of 6to4"),
        ("198.18.0.1", "for benchmarks"),
        ("198.19.255.255", "for benchmarks"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::8.8.8.8", "an IPv4 address in another's dress"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::8.8.8.8", "private"),
        ("100::1", "reserved"),
        ("2001::1", "reserved"),
        ("2001:2::1", "for benchmarks"),
        ("2001:db8::1", "for documentation"),
        ("2002:7f00:1::", "an IPv4 address in another's dress"),
        ("3fff::1", "for documentation"),
        ("fc00::1", "private"),
        ("fdff::1", "private"),
        ("fe80::1", "link-local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("1::1", "reserved"),
        ("5f00::1", "reserved"),
        ("8000::1", "reserved"),
    ];
    for (address, what) in refused {
        assert_eq!(kind(&guard(&[]), address), Some(what), "{address}");
    }
    for address in [
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "198.17.255.255",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:4860:4860::8888",
        "2606:4700::1",
    ] {
        assert_eq!(kind(&guard(&[]), address), None, "{address}");
    }
}

#[test]
fn a_setting_opens_its_range_and_no_other() {
    let guard = guard(&["10.1.0.0/16", "fd00:1::/32"]);
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::7"] {
        assert_eq!(kind(&guard, address), None, "{address}");
    }
    for address in ["10.2.0.1", "127.0.0.1", "fd00:2::1", "::10.1.2.3"] {
        assert!(kind(&guard, address).is_some(), "{address}");
    }
    for wrong in ["10.1.0.0", "10.1.0.1/16", "10.1.0.0/33", "localhost", ""] {
        let error = Guard::new(&[wrong.to_owned()]).unwrap_err();
        assert!(error.contains("`own.allow_private`") && error.contains(wrong), "{error}");
    }
}

/// Guard: without, a name leads where its address may not.
#[tokio::test]
async fn a_name_is_judged_by_what_it_stands_for() {
    let error = guard(&[]).look_up("localhost").await.unwrap_err();
    assert!(error.to_string().contains("(loopback)"), "{error}");
    assert!(!guard(&["127.0.0.0/8", "::1/128"]).look_up("localhost").await.unwrap().is_empty());
}
