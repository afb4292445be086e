//! What of a value may be shown: never a secret.

use toml::Value;

use crate::ground::secret::{MASK, is_secret};

pub(super) fn masked(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => value.clone(),
        _ if is_secret(name) => Value::String(MASK.to_owned()),
        Value::String(text) => Value::String(address(text)),
        Value::Table(table) => Value::Table(table.iter().map(|(k, v)| (k.clone(), masked(k, v))).collect()),
        Value::Array(items) => Value::Array(items.iter().map(|v| masked(name, v)).collect()),
        other => other.clone(),
    }
}

/// An address without the password in it: between user and `@`, or as a parameter.
fn address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        // An address whose scheme was forgotten has its password all the same.
        let user = text.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host)));
        return match user {
            _ if text.contains("password") => MASK.to_owned(),
            Some((name, host)) => format!("{name}:{MASK}@{host}"),
            None => text.to_owned(),
        };
    };
    // The last `@`: a password that wasn't encoded may hold one itself, or a slash.
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{scheme}://{name}:{MASK}@{host}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    };
    match shown.split_once('?') {
        Some((before, parameters)) => {
            let parameters = parameters.split('&').map(|p| match p.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
                _ => p.to_owned(),
            });
            format!("{before}?{}", parameters.collect::<Vec<_>>().join("&"))
        }
        None => shown,
    }
}
