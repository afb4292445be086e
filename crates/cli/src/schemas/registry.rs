//! What a registry has of a subject, by Confluent's interface.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

/// How long one call may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A registry.
pub(super) struct Registry {
    client: Client,
    base: Url,
    user: Option<(String, String)>,
}

/// A version's number, and its schema or why it can't be compared.
pub(super) type Version = (u32, Result<String, String>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<serde_json::Value>>,
}

impl Registry {
    /// The one at `url`; the password of `user` is in the environment.
    pub(super) fn at(url: &str, user: Option<String>) -> anyhow::Result<Self> {
        let base = Url::parse(url).context("--registry: not an address")?;
        if base.cannot_be_a_base() {
            bail!("--registry: not an address of http or https");
        }
        let mut builder = Client::builder().timeout(TIMEOUT);
        if base.scheme() == "http" {
            // Loads no root certificates: an image without any would fail here.
            builder = builder.tls_certs_only([]);
        }
        let password = std::env::var("FARANDOLE_REGISTRY_PASSWORD").unwrap_or_default();
        Ok(Self { client: builder.build()?, base, user: user.map(|user| (user, password)) })
    }

    /// All versions of a subject; none if there is no such subject.
    pub(super) async fn versions(&self, subject: &str) -> anyhow::Result<Vec<Version>> {
        let Some(numbers) = self.get::<Vec<u32>>(&["subjects", subject, "versions"]).await? else { return Ok(Vec::new()) };
        let mut versions = Vec::new();
        for number in numbers {
            let path = ["subjects", subject, "versions", &number.to_string()];
            // Deleted meanwhile, or nothing.
            let Some(stored) = self.get::<Stored>(&path).await? else { continue };
            versions.push((
                number,
                match stored {
                    Stored { schema_type: Some(other), .. } if other != "AVRO" => Err(format!("it is {other}, not Avro")),
                    Stored { references: Some(other), .. } if !other.is_empty() => Err("it refers to other schemas".to_owned()),
                    Stored { schema, .. } => Ok(schema),
                },
            ));
        }
        Ok(versions)
    }

    /// The answer; none when there is no such thing.
    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &[&str]) -> anyhow::Result<Option<T>> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let what = || format!("asking the registry for {}", path.join("/"));
        let mut request = self.client.get(url);
        if let Some((user, password)) = &self.user {
            request = request.basic_auth(user, Some(password));
        }
        // The address may hold a password.
        let response = request.send().await.map_err(reqwest::Error::without_url).with_context(what)?;
        let status = response.status();
        let body = response.bytes().await.map_err(reqwest::Error::without_url).with_context(what)?;
        // Another 404 is that of somebody who is no registry.
        let code = || serde_json::from_slice::<serde_json::Value>(&body).ok()?.get("error_code")?.as_u64();
        match status {
            StatusCode::NOT_FOUND if matches!(code(), Some(40401 | 40402)) => Ok(None),
            status if !status.is_success() => {
                let said: String = String::from_utf8_lossy(&body).chars().take(500).collect();
                bail!("{}: it said {status}: {said}", what())
            }
            _ => serde_json::from_slice(&body).with_context(what),
        }
    }
}
