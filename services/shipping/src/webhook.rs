//! The carrier's reports: verified as [Standard Webhooks](https://www.standardwebhooks.com) says, and only then read.
//!
//! What isn't signed with one of the secrets, or not within five minutes of now, is refused with 401, whatever it says. The ids of
//! webhooks aren't kept: a report that comes again finds its parcel as it says, and decides nothing.
//!
//! **Invariant:** no secret is shown, in no error and no log. Without one, nothing is taken.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use axum::body::to_bytes;
use axum::extract::{FromRequest as _, Request};
use axum::http::HeaderMap;
use farandole::Problem;
use farandole::http::JsonBody;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use standardwebhooks::{HEADER_WEBHOOK_TIMESTAMP, Webhook, WebhookError};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::carrier::{Fate, Report};
use crate::tracking;

/// Characters of 24 bytes in base64: the shortest secret that the specification allows.
const SHORTEST: usize = 32;
/// Bytes of a report at most; the carrier's have some 200.
const LARGEST: usize = 16 << 10;

/// What the carrier may sign its reports with.
pub struct Secrets(Vec<Webhook>);

/// Why there are no secrets to be had from the settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two places.
    #[error("`own.carrier_secret` and `own.carrier_secret_file` are both set; set one of them")]
    Both,
    /// The file can't be read.
    #[error("reading `own.carrier_secret_file` {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is something in it, and that is none.
    #[error("`own.carrier_secret`, or its file: a secret is `whsec_` and base64 of at least 24 bytes; spaces separate several")]
    Malformed,
}

/// A report, as the carrier sends it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CarrierReport {
    /// The carrier's number of the parcel.
    #[serde(deserialize_with = "tracking::read")]
    #[schema(pattern = "^[A-Za-z0-9-]{1,64}$")]
    tracking: String,
    /// The order's id.
    reference: Uuid,
    status: Fate,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Those of the settings: from one place or the other.
    ///
    /// # Errors
    /// When both are set, when the file can't be read or has none, and when one isn't a secret.
    pub fn of(setting: &SecretString, file: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = file else { return Self::read(setting.expose_secret()) };
        if !setting.expose_secret().is_empty() {
            return Err(Error::Both);
        }
        let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let secrets = Self::read(&text)?;
        if secrets.is_empty() { Err(Error::Malformed) } else { Ok(secrets) }
    }

    fn read(text: &str) -> Result<Self, Error> {
        let one = |secret: &str| {
            let key = secret.strip_prefix("whsec_").filter(|key| key.len() >= SHORTEST);
            key.and_then(|key| Webhook::new(key).ok()).ok_or(Error::Malformed)
        };
        text.split_whitespace().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The report in a request, and the order that it is about.
    ///
    /// # Errors
    /// 401 when it isn't the carrier's or not of now, 413 when it is too large, 422 with the field that isn't known; 503 without a secret.
    pub async fn report(&self, request: Request) -> Result<(Uuid, Report), Problem> {
        if self.is_empty() {
            return Err(Problem::unavailable("reports can't be verified at the moment", 60));
        }
        let (parts, body) = request.into_parts();
        let too_large = |_| Problem::new(413, "body-too-large", format!("a report has {LARGEST} bytes at most"));
        let body = to_bytes(body, LARGEST).await.map_err(too_large)?;
        self.verify(&parts.headers, &body)?;
        let request = Request::from_parts(parts, body.into());
        let JsonBody(CarrierReport { tracking, reference, status }) = JsonBody::from_request(request, &()).await?;
        Ok((reference, Report { tracking, fate: status }))
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let verified = is_after_1970(headers).and_then(|()| {
            let last = Err(WebhookError::InvalidSignature);
            self.0.iter().fold(last, |before, secret| before.or_else(|_| secret.verify(body, headers)))
        });
        verified
            .map_err(|why| Problem::new(401, "not-verified", format!("this isn't taken for a report of the carrier's: {why}")))
    }
}

/// The library takes the timestamp from now before it looks at the signature: anybody could have that overflow, which is a panic.
fn is_after_1970(headers: &HeaderMap) -> Result<(), WebhookError> {
    let Some(timestamp) = headers.get(HEADER_WEBHOOK_TIMESTAMP) else { return Ok(()) };
    let after = timestamp.to_str().is_ok_and(|text| text.parse::<u64>().is_ok());
    if after { Ok(()) } else { Err(WebhookError::InvalidTimestamp) }
}
