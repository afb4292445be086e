//! Secrets: what a subscriber gives to have its messages signed with, and how it is kept.
//!
//! A secret is sealed where it comes in, before it is in a command, and opened where a message is signed. In between, in events, rows, parked
//! inputs and answers, there is only what AES-256-GCM-SIV (RFC 8452) makes of it under the service's own key, bound to the address that it
//! is for: moved to another address it doesn't open.
//!
//! The same secret for the same address is sealed alike each time, which that cipher is made for: so a request that comes again under its
//! `Idempotency-Key` is the same request. Who sees two sealed secrets of one address learns whether they are equal, and nothing else.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// Before a secret's base64, as Standard Webhooks has it.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, as Standard Webhooks has it.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// Before what is sealed, so that another way can be told from it one day.
const VERSION: &str = "1.";
/// Bytes of the service's key.
const KEY: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("reading `own.key_file` {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is something else in it.
    #[error("`own.key_file` {path} has to hold base64 of 32 bytes, as `openssl rand -base64 32` writes them")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
}

/// The service's key.
pub struct Sealer(LessSafeKey);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// The key in a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let text = SecretString::from(text);
        let malformed = || Error::Malformed { path: path.to_owned() };
        let key = SecretSlice::from(STANDARD.decode(text.expose_secret().trim()).map_err(|_| malformed())?);
        Self::new(key.expose_secret()).ok_or_else(malformed)
    }

    /// This key, if it has 32 bytes.
    pub fn new(key: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).ok().filter(|_| key.len() == KEY)?;
        Some(Self(LessSafeKey::new(key)))
    }

    /// Seals the secret for this address. None of one that is too large for the cipher, which none is.
    pub fn seal(&self, url: &str, secret: &SecretSlice<u8>) -> Option<String> {
        let mut sealed = secret.expose_secret().to_vec();
        self.0.seal_in_place_append_tag(nonce(), Aad::from(url.as_bytes()), &mut sealed).ok()?;
        Some(format!("{VERSION}{}", STANDARD.encode(sealed)))
    }

    /// The secret, if it was sealed by this key for this address.
    pub fn open(&self, url: &str, sealed: &str) -> Option<SecretSlice<u8>> {
        let mut sealed = STANDARD.decode(sealed.strip_prefix(VERSION)?).ok()?;
        let opened = self.0.open_in_place(nonce(), Aad::from(url.as_bytes()), &mut sealed).ok()?;
        Some(SecretSlice::from(opened.to_vec()))
    }
}

/// Always the same: this cipher makes its own of the text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// A subscriber's secret as it was given.
///
/// # Errors
/// What it has to be; not what it is.
pub fn secret(text: &SecretString) -> Result<SecretSlice<u8>, &'static str> {
    let bytes = text.expose_secret().strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.filter(|bytes| LENGTHS.contains(&bytes.len()));
    bytes.map(SecretSlice::from).ok_or("has to be `whsec_` and base64 of 24 to 64 bytes")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const URL: &str = "https://a.example/hook";

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&[byte; KEY]).unwrap()
    }
    fn of(bytes: usize) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes])).into()
    }

    /// Guard: without, a secret is found in a topic, or what is sealed for one address signs what goes to another.
    #[test]
    fn what_is_sealed_opens_under_its_key_and_address_alone() {
        let secret = secret(&of(24)).unwrap();
        let sealed = sealer(1).seal(URL, &secret).unwrap();
        assert!(!sealed.contains(&STANDARD.encode([7; 24])[..8]), "{sealed}");
        assert_eq!(sealer(1).open(URL, &sealed).unwrap().expose_secret(), secret.expose_secret());
        assert_eq!(sealer(1).seal(URL, &secret), Some(sealed.clone()), "a request that comes again is the same");
        assert_ne!(sealer(1).seal("https://b.example/", &secret), Some(sealed.clone()));
        assert!(sealer(2).open(URL, &sealed).is_none() && sealer(1).open("https://b.example/", &sealed).is_none());
        let mut damaged = sealed.clone();
        damaged.replace_range(4..5, if &sealed[4..5] == "A" { "B" } else { "A" });
        for wrong in [damaged.as_str(), "", "1.", "1.AAAA", &sealed[2..]] {
            assert!(sealer(1).open(URL, wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_as_standard_webhooks_has_it() {
        for bytes in [24, 32, 64] {
            assert_eq!(secret(&of(bytes)).unwrap().expose_secret().len(), bytes);
        }
        for wrong in [of(23), of(65), "".into(), "whsec_".into(), "hunter2".into(), "whsec_hunter2!".into()] {
            assert!(!secret(&wrong).unwrap_err().contains("hunter2"));
        }
        assert!(!format!("{:?}", secret(&of(24)).unwrap()).contains('7'));
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        let file = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            Sealer::from_file(file.path()).map_err(|error| error.to_string())
        };
        assert!(file(&format!("{}\n", STANDARD.encode([9; 32]))).is_ok());
        for wrong in ["", "hunter2", &STANDARD.encode([9; 31]), &STANDARD.encode([9; 33])] {
            let error = file(wrong).unwrap_err();
            assert!(error.contains("`own.key_file`") && error.contains("openssl") && !error.contains("hunter2"), "{error}");
        }
        let error = Sealer::from_file(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
