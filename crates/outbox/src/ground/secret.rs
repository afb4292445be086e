//! Which settings are secrets.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serializer;

/// Stands where a secret would.
pub const MASK: &str = "********";
/// Parts of names whose values are never shown.
const SECRET_NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "api_key", "private_key", "ssl.key.pem"];

/// Whether the value of a setting of this name is never shown.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// Writes that there is a secret, not which.
///
/// # Errors
/// The serializer's.
pub fn masked<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.expose_secret().is_empty() { "" } else { MASK })
}
