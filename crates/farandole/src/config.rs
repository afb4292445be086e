//! The configuration of a service: defaults, over them a TOML file, over that the environment. [`farandole::main`](crate::main) loads it;
//! [`Config::load`] does it for programs of your own.
//!
//! A key `field` of section `[section]` is the variable `FARANDOLE_SECTION_FIELD`; a service's own settings are section
//! `[own]`. A property of the Kafka client is `FARANDOLE_KAFKA_PROPERTIES_SASL_PASSWORD` for `sasl.password`. Durations have
//! units (`"10s"`, `"250ms"`, `"1h 30m"`), sizes too (`"1MiB"`). A key that isn't known is an error, for a setting that is misspelt would
//! otherwise be one that silently isn't there. `SETTINGS.md` lists all of them.
//!
//! **Invariant:** what [`Loaded::printed`] shows has no password in it.

pub(crate) mod check;
mod error;
mod fields;
mod layers;
mod mask;
mod print;
mod sections;
pub mod units;
mod values;

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::Error;
pub use sections::{Agenda, Config, Database, Format, Http, Intake, Log, NoSettings, Otlp, Process, Relay};

pub use crate::wire::per_topic::{PerTopic, Start, Unknown};
pub use crate::wire::settings::{Compatibility, Kafka, Register, Registry, Subjects, Topics};

/// A configuration as loaded.
#[derive(Debug)]
pub struct Loaded<S> {
    /// The kit's.
    pub config: Config,
    /// The service's own: section `[own]`.
    pub own: S,
    /// All of it as TOML, secrets masked, with the source of each value as a comment.
    pub printed: String,
}

impl Config {
    /// Loads `file`, if there is one, over the defaults, and `env` over both. Variables without `FARANDOLE_` in front are
    /// ignored. `S` is the service's own settings, section `[own]`, or [`NoSettings`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use farandole::Config;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, Serialize, Deserialize)]
    /// #[serde(default, deny_unknown_fields)]
    /// struct Settings { confirm_within: Duration, carrier: String }
    /// impl Default for Settings {
    ///     fn default() -> Self {
    ///         Self { confirm_within: Duration::from_secs(30 * 60), carrier: "https://carrier.example".to_owned() }
    ///     }
    /// }
    ///
    /// let env = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
    /// let loaded = Config::load::<Settings>(None, env("FARANDOLE_OWN_CONFIRM_WITHIN", "90s"))?;
    /// assert_eq!(loaded.own.confirm_within, Duration::from_secs(90));
    /// assert!(loaded.printed.contains("confirm_within = \"90s\"  # environment FARANDOLE_OWN_CONFIRM_WITHIN"));
    ///
    /// let error = Config::load::<Settings>(None, env("FARANDOLE_OWN_CARIER", "x")).unwrap_err();
    /// assert!(error.to_string().contains("did you mean `FARANDOLE_OWN_CARRIER`?"));
    /// # Ok::<(), farandole::config::Error>(())
    /// ```
    ///
    /// # Errors
    /// Names every key that is unknown or wrong, where it came from, and what would be right: all at once.
    pub fn load<S: Serialize + DeserializeOwned + Default>(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded<S>, Error> {
        Self::load_for(file, env, |_| Vec::new())
    }

    /// The same for a service, which knows more that may be wrong.
    pub(crate) fn load_for<S: Serialize + DeserializeOwned + Default>(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        more: impl FnOnce(&Self) -> Vec<String>,
    ) -> Result<Loaded<S>, Error> {
        let mut layers = layers::Layers::defaults::<S>();
        if let Some(path) = file {
            layers.file(path);
        }
        layers.env(env);
        let printed = print::print(&layers);
        let (config, own) = layers.finish::<S>(more)?;
        Ok(Loaded { config, own, printed })
    }

    /// Checks all that shows without a server, and that what has no default is there. [`Config::load`] has done the first for what it
    /// loads.
    ///
    /// # Errors
    /// Names every key that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let wrong: Vec<String> =
            check::unset(self).into_iter().chain(check::faults(self).into_iter().map(check::Fault::plain)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(Error(wrong)) }
    }
}
