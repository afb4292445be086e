//! Where messages may go: public addresses, and those that the settings open.
//!
//! A subscriber names any address that it likes, and the service stands inside a network where addresses are trusted: without this a message
//! reaches a database's port, or a cloud's metadata (server-side request forgery).
//!
//! **Judged is the address that is connected to**, when it is. A name is resolved by [`Guard`] itself, and all that it stands for is judged
//! before one is tried: a name that meant another address when it was registered (DNS rebinding) gains nothing. An address in a URL isn't
//! resolved by anybody, so [`address`](crate::address) judges it, in whichever way it is written.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What isn't public, of IANA's registries of special addresses; the most telling first.
const CLOSED: [(&str, &str); 30] = [
    ("127.0.0.0/8", "loopback"),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("169.254.0.0/16", "link-local"),
    ("100.64.0.0/10", "shared by carriers"),
    ("0.0.0.0/8", "unspecified"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "for documentation"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("192.88.99.0/24", "a relay of 6to4"),
    ("198.18.0.0/15", "for benchmarks"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "an IPv4 address in another's dress"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
    ("64:ff9b:1::/48", "private"),
    ("100::/64", "reserved"),
    ("2001:2::/48", "for benchmarks"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "an IPv4 address in another's dress"),
    ("3fff::/20", "for documentation"),
];
/// The only addresses of IPv6 that are given out.
const GIVEN_OUT: &str = "2000::/3";
/// IPv4 addresses behind a translator (RFC 6052).
const TRANSLATED: &str = "64:ff9b::/96";

/// Judges addresses.
#[derive(Debug, Clone)]
pub struct Guard {
    allowed: Vec<IpNet>,
    closed: Vec<(IpNet, &'static str)>,
    given_out: IpNet,
    translated: IpNet,
}

/// An address to which no message goes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} isn't a public address ({kind})")]
pub struct Refused {
    /// Which.
    pub address: IpAddr,
    /// What it is.
    pub kind: &'static str,
}

impl Guard {
    /// Lets through what is public, and these ranges.
    ///
    /// # Errors
    /// When one isn't a range.
    pub fn new(allowed: &[String]) -> Result<Self, String> {
        let range = |text: &String| {
            let range = text.parse::<IpNet>();
            let range = range.ok().filter(|range| range.trunc() == *range);
            range.ok_or_else(|| format!("`own.allow_private`: `{text}` isn't a range, as \"10.1.0.0/16\" or \"fd00:1::/32\""))
        };
        let known = |text: &str| text.parse::<IpNet>().map_err(|error| format!("{text}: {error}"));
        Ok(Self {
            allowed: allowed.iter().map(range).collect::<Result<_, _>>()?,
            closed: CLOSED.iter().map(|(text, kind)| Ok((known(text)?, *kind))).collect::<Result<_, String>>()?,
            given_out: known(GIVEN_OUT)?,
            translated: known(TRANSLATED)?,
        })
    }

    /// Whether a message may go there.
    ///
    /// # Errors
    /// When it may not.
    pub fn judge(&self, address: IpAddr) -> Result<(), Refused> {
        let plain = self.plain(address);
        if self.allowed.iter().any(|range| range.contains(&plain)) {
            return Ok(());
        }
        let kind = self.closed.iter().find(|(range, _)| range.contains(&plain)).map(|(_, kind)| *kind);
        match kind {
            Some(kind) => Err(Refused { address, kind }),
            None if plain.is_ipv6() && !self.given_out.contains(&plain) => Err(Refused { address, kind: "reserved" }),
            None => Ok(()),
        }
    }

    /// The address that is reached in the end, of one that holds another.
    fn plain(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V6(v6) if self.translated.contains(&address) => IpAddr::V4(last(v6)),
            other => other.to_canonical(),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
        found.iter().try_for_each(|found| self.judge(found.ip()))?;
        Ok(found)
    }
}

/// The IPv4 address in the last four bytes.
fn last(v6: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = v6.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Resolves as the system does, and judges what comes of it.
#[derive(Debug, Clone)]
pub struct Guarded(pub Arc<Guard>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let found = guard.look_up(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
