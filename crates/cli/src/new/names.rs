//! Names that Cargo, Rust, Kafka and Avro take.

use anyhow::bail;

/// PostgreSQL's names have 63 bytes at most, and are often made from the service's.
const LONGEST: usize = 48;

/// Names that the package or its library can't have: Rust's words and crates, what Cargo keeps for itself, and what the service itself
/// depends on.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "axum",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "farandole",
    "farandole-build",
    "farandole-outbox",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "reqwest",
    "return",
    "self",
    "serde",
    "serde-json",
    "sqlx",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tokio",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "uuid",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Refuses what can't be the name of a package, a topic and a module.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let parts_are_whole = name.split(['-', '_']).all(|part| !part.is_empty() && part.chars().all(plain));
    if name.len() > LONGEST || !parts_are_whole || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        bail!(
            "`{name}` can't be the name of a service: it has to be 1 to {LONGEST} lower-case letters and digits, with single `-` or `_` \
             between them, and begin with a letter"
        );
    }
    if TAKEN.contains(&name.replace('_', "-").as_str()) {
        bail!("`{name}` can't be the name of a service: Rust, Cargo or one of its dependencies has it; choose another one");
    }
    Ok(())
}

/// Refuses what Avro doesn't take for a namespace.
pub(super) fn check_namespace(namespace: &str) -> anyhow::Result<()> {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !namespace.split('.').all(word) {
        bail!("--namespace {namespace}: Avro takes words of letters, digits and `_`, with dots between them, as in com.acme");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["parcels", "parcel-events", "parcel_events", "p2", "type-setting"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(LONGEST + 1);
        for name in [
            "",
            "Parcels",
            "2parcels",
            "-p",
            "p-",
            "p--q",
            "p-_q",
            "pär",
            "p q",
            "p.q",
            "../p",
            "type",
            "serde_json",
            "test",
            &long,
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn namespaces() {
        for namespace in ["com.acme", "acme", "_a.B2"] {
            assert!(check_namespace(namespace).is_ok(), "{namespace}");
        }
        for namespace in ["", "com.", ".acme", "com..acme", "com.2", "com.my-team", "com acme"] {
            assert!(check_namespace(namespace).is_err(), "{namespace}");
        }
    }
}
