//! The signature of a message, as [Standard Webhooks](https://www.standardwebhooks.com) says.

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice};

/// What `webhook-signature` says: `v1,` and base64 of the HMAC-SHA256 of `id.timestamp.body`.
pub fn signature(secret: &SecretSlice<u8>, id: &str, timestamp: i64, body: &str) -> String {
    let tag = hmac::sign(&Key::new(HMAC_SHA256, secret.expose_secret()), format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal;

    /// That of the specification.
    #[test]
    fn a_signature_is_the_specifications() {
        let secret = seal::secret(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
