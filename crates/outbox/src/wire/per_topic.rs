//! Settings that may differ from topic to topic.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::ground::time::Timestamp;

/// Stands for every topic that isn't named.
const OTHERS: &str = "*";

/// One value for all topics (`"park"`), or a table by their names with `*` for the others (`{ orders = "ignore", "*" = "park" }`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PerTopic<T> {
    others: T,
    named: BTreeMap<String, T>,
}

impl<T: Copy> PerTopic<T> {
    /// The same for all.
    pub fn all(value: T) -> Self {
        Self { others: value, named: BTreeMap::new() }
    }

    /// Another for this one.
    #[must_use]
    pub fn with(mut self, topic: impl Into<String>, value: T) -> Self {
        self.named.insert(topic.into(), value);
        self
    }

    /// For this topic.
    pub fn of(&self, topic: &str) -> T {
        self.named.get(topic).copied().unwrap_or(self.others)
    }

    /// The topics that are named.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// The same by other names.
    pub fn renamed(&self, name: impl Fn(&str) -> String) -> Self {
        Self { others: self.others, named: self.named.iter().map(|(topic, value)| (name(topic), *value)).collect() }
    }
}

impl<T: Display> Serialize for PerTopic<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.named.is_empty() {
            return serializer.collect_str(&self.others);
        }
        let named = self.named.iter().map(|(topic, value)| (topic.as_str(), value.to_string()));
        serializer.collect_map(named.chain([(OTHERS, self.others.to_string())]))
    }
}

impl<'de, T: FromStr<Err = String> + Default> Deserialize<'de> for PerTopic<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: FromStr<Err = String> + Default> Visitor<'de> for Each<T> {
            type Value = PerTopic<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value for all topics, or a table by topic with `*` for the rest")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(PerTopic { others: text.parse().map_err(E::custom)?, named: BTreeMap::new() })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut others, mut named) = (None, BTreeMap::new());
                while let Some((topic, text)) = map.next_entry::<String, String>()? {
                    let value = text.parse().map_err(|why| de::Error::custom(format!("{topic}: {why}")))?;
                    match topic.as_str() {
                        OTHERS => others = Some(value),
                        _ => drop(named.insert(topic, value)),
                    }
                }
                Ok(PerTopic { others: others.unwrap_or_default(), named })
            }
        }
        deserializer.deserialize_any(Each(PhantomData))
    }
}

/// What becomes of a record whose type the service neither hears nor lists among those that it ignores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// As the service declares: parked if it lists types that it ignores, since it then knows all that there should be; ignored if it
    /// names only what it subscribes to.
    #[default]
    Declared,
    /// It parks its key, until a build that knows it is deployed. For topics that this service has to follow whole.
    Park,
    /// It is skipped, counted and named in the log once. For topics of which it needs some events and not the others.
    Ignore,
}

impl Unknown {
    /// The same, of a service that lists what it ignores or doesn't: [`Unknown::Park`] or [`Unknown::Ignore`].
    #[must_use]
    pub fn resolved(self, lists: bool) -> Self {
        match (self, lists) {
            (Self::Declared, true) => Self::Park,
            (Self::Declared, false) => Self::Ignore,
            (said, _) => said,
        }
    }
}

impl FromStr for Unknown {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "declared" => Ok(Self::Declared),
            "park" => Ok(Self::Park),
            "ignore" => Ok(Self::Ignore),
            other => Err(format!("`{other}` is none of `declared`, `park` and `ignore`")),
        }
    }
}

impl Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declared => "declared",
            Self::Park => "park",
            Self::Ignore => "ignore",
        })
    }
}

/// Where a reader starts that has no position in a partition yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the topic's beginning, which must be there: if some of it has expired, the partition stands and says so.
    #[default]
    Earliest,
    /// Behind what is there now.
    Latest,
    /// At the first record written at this time or later. What is older, or has expired, isn't asked for.
    At(Timestamp),
}

impl FromStr for Start {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            time => Timestamp::parse(time).map(Self::At).ok_or_else(|| {
                format!("`{time}` is neither `earliest` nor `latest` nor a time like `2026-01-31T12:00:00Z`, until 9999-12-30")
            }),
        }
    }
}

impl Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(time) => time.fmt(f),
        }
    }
}

/// What a reader does whose position in a partition has expired: the topic doesn't hold any more what it would read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expired {
    /// The partition stops and says so, until somebody sets its position.
    #[default]
    Stop,
    /// It goes on from the earliest record that is there. What it passes over is logged and counted.
    Earliest,
}

impl FromStr for Expired {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stop" => Ok(Self::Stop),
            "earliest" => Ok(Self::Earliest),
            other => Err(format!("`{other}` is neither `stop` nor `earliest`")),
        }
    }
}

impl Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Earliest => "earliest",
        })
    }
}
