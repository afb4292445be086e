//! What may be the address of a subscriber, as a URL.

use std::net::IpAddr;

use reqwest::Url;

use crate::guard::Guard;

/// Bytes of a URL at most.
const LONGEST: usize = 2_048;

/// Which addresses are taken.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether `http://` is, too.
    pub allow_http: bool,
    /// Judges addresses.
    pub guard: std::sync::Arc<Guard>,
}

impl Rules {
    /// The URL as it is written shortest. Where it names an address and no host, that one is judged here: nobody resolves it. All ways of
    /// writing one (decimal, hexadecimal, octal, with parts left out) are one to the parser.
    ///
    /// # Errors
    /// What it has to be.
    pub fn read(&self, text: &str) -> Result<Url, String> {
        if text.len() > LONGEST {
            return Err(format!("has to have {LONGEST} bytes at most"));
        }
        let url: Url = text.parse().map_err(|_| "has to be a URL, as https://shop.example/hooks".to_owned())?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ if self.allow_http => return Err("has to begin with https:// or http://".to_owned()),
            _ => return Err("has to begin with https://".to_owned()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must have no user and no password; messages are signed".to_owned());
        }
        if url.fragment().is_some() {
            return Err("must have no fragment: it is never sent".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = literal.parse::<IpAddr>() {
            self.guard.judge(address).map_err(|refused| format!("leads to where nothing is sent: {refused}"))?;
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn read(text: &str, allow_http: bool, allowed: &[&str]) -> Result<String, String> {
        let allowed: Vec<String> = allowed.iter().map(|range| (*range).to_owned()).collect();
        let rules = Rules { allow_http, guard: Arc::new(Guard::new(&allowed).unwrap()) };
        rules.read(text).map(String::from)
    }

    #[test]
    fn a_subscriber_is_at_an_https_address() {
        for url in
            ["https://shop.example/hooks?key=1", "https://shop.example:8443/", "https://8.8.8.8/", "https://[2606:4700::1]/"]
        {
            assert_eq!(read(url, false, &[]).unwrap(), url);
        }
        let long = format!("https://shop.example/{}", "x".repeat(LONGEST));
        for (url, why) in [
            ("http://shop.example/", "begin with https://"),
            ("ftp://shop.example/", "begin with https://"),
            ("file:///etc/passwd", "begin with https://"),
            ("shop.example", "a URL"),
            ("https://", "a URL"),
            ("https://anna:hunter2@shop.example/", "no user"),
            ("https://anna@shop.example/", "no user"),
            ("https://shop.example/#part", "no fragment"),
            (long.as_str(), "2048 bytes"),
        ] {
            let error = read(url, false, &[]).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter2"), "{url}: {error}");
        }
        assert!(read("http://shop.example/", true, &[]).is_ok());
    }

    /// Guard: an address in a URL is looked up by nobody. Without, it is connected to as it stands.
    #[test]
    fn an_address_is_judged_however_it_is_written() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0x7f.1",
            "127.1",
            "127.0.1",
            "017700000001",
            "127.0.0.1.",
            "１２７.０.０.１",
            "%31%32%37.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[0:0:0:0:0:0:0:1]",
            "169.254.169.254",
            "0",
            "[fe80::1]",
            "[fd00::1]",
        ] {
            let error = read(&format!("https://{host}/"), false, &[]).unwrap_err();
            assert!(error.contains("isn't a public address"), "{host}: {error}");
        }
        // A zone belongs to no URL.
        for host in ["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1"] {
            assert!(read(&format!("https://{host}/"), false, &[]).is_err(), "{host}");
        }
        assert!(read("https://2130706433/", false, &["127.0.0.0/8"]).is_ok());
    }
}
