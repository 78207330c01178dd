//! Where webhooks may go: the public internet, and the networks that the pool's administrator allows.
//!
//! A webhook's address is what a user likes; the server stands where users do not. So the addresses that a name stands for are
//! looked at when the connection is made, each time ([`webhook`](super::webhook)): a name that changes gains nothing.

use axum::http::Uri;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is no webhook's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It cannot be read.
    #[error("it is not an address of a webhook; write https://example.org/hook")]
    Form,
    /// Neither `https` nor `http`.
    #[error("`{scheme}` is not spoken; use https")]
    Scheme {
        /// What is there instead.
        scheme: String,
    },
    /// A name and a password before the host.
    #[error("it holds a user's name: put what the receiver must know into the path")]
    User,
    /// A place in the pool's own surroundings.
    #[error(
        "{address} is not on the public internet: the pool's administrator has to allow it (`pond notify settings --allow NETWORK`)"
    )]
    Denied {
        /// Which.
        address: IpAddr,
    },
    /// Not protected, and not to a network that the administrator answers for.
    #[error("http is spoken with networks only that the pool's administrator allows; use https")]
    Plain,
}

/// The parts of a webhook's address.
///
/// # Errors
/// When it is none.
pub fn parts(url: &str) -> Result<Uri, AddressError> {
    let uri: Uri = url.parse().map_err(|_why| AddressError::Form)?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or(AddressError::Form)?;
    match uri.scheme_str() {
        Some("https" | "http") => {}
        Some(other) => return Err(AddressError::Scheme { scheme: other.chars().take(20).collect() }),
        None => return Err(AddressError::Form),
    }
    if authority.as_str().contains('@') {
        return Err(AddressError::User);
    }
    Ok(uri)
}

/// Scheme, host and port: what is no secret.
#[must_use]
pub fn place(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}/…", uri.scheme_str().unwrap_or_default())
}

/// Networks beside the public internet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(Vec<IpNet>);

impl Allowed {
    /// Those of the settings. Words that are no networks, which settings do not hold, allow nothing.
    #[must_use]
    pub fn of(words: &[String]) -> Self {
        Self(words.iter().filter_map(|word| network(word)).collect())
    }

    /// Whether a webhook may be sent there.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, address: IpAddr, encrypted: bool) -> Result<(), AddressError> {
        // `::ffff:127.0.0.1` is the loopback.
        let address = address.to_canonical();
        match (self.0.iter().any(|network| network.contains(&address)), is_public(address), encrypted) {
            (true, ..) | (false, true, true) => Ok(()),
            (false, true, false) => Err(AddressError::Plain),
            (false, false, _) => Err(AddressError::Denied { address }),
        }
    }
}

/// A network, `10.1.0.0/16`, or one address.
#[must_use]
pub fn network(word: &str) -> Option<IpNet> {
    word.parse().ok().or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether an address is one that anybody on the internet can mean: global and unicast, by the registries of special addresses
/// (RFC 6890 and its successors), tunnels that lead to other addresses left out.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let special = match first {
        // Protocol assignments with Teredo among them; documentation.
        0x2001 => second < 0x0200 || second == 0x0db8,
        // 6to4.
        0x2002 => true,
        // Documentation.
        0x3fff => second < 0x1000,
        _ => false,
    };
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "2606:4700::1",
            "2a00:1450::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_and_nothing_beside_it() {
        let none = Allowed::default();
        let lab = Allowed::of(&["10.1.0.0/16".to_owned(), "127.0.0.1".to_owned(), "nonsense".to_owned()]);
        let denied = |allowed: &Allowed, address: &str| {
            matches!(allowed.check(address.parse().unwrap(), true), Err(AddressError::Denied { .. }))
        };
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "10.1.2.3"] {
            assert!(denied(&none, address), "{address}");
        }
        assert!(!denied(&lab, "10.1.2.3") && !denied(&lab, "::ffff:127.0.0.1"));
        assert!(denied(&lab, "10.2.0.1") && denied(&lab, "127.0.0.2") && denied(&lab, "169.254.169.254"));
        assert_eq!(none.check("1.1.1.1".parse().unwrap(), true), Ok(()));
        assert_eq!(none.check("1.1.1.1".parse().unwrap(), false), Err(AddressError::Plain));
        assert_eq!(lab.check("10.1.2.3".parse().unwrap(), false), Ok(()));
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for url in [
            "",
            "hook",
            "https://",
            "https:///x",
            "ftp://a/b",
            "http://user@a/",
            "http://a b/",
            "file:///etc/passwd",
        ] {
            assert!(parts(url).is_err(), "{url}");
        }
        assert_eq!(
            place(&parts("https://hooks.example.org:8443/T0/secret?x=1").unwrap()),
            "https://hooks.example.org:8443/…"
        );
    }
}
