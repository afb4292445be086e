//! The files of a new service, from `templates/`. A placeholder is a name in double braces: `{{name}}`.

/// A file's path, with placeholders, and its text.
macro_rules! templates {
    ($($path:literal: $file:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../templates/", $file)))),*]
    };
}

const TEMPLATES: &[(&str, &str)] = templates![
    ".gitignore": "gitignore",
    "Cargo.toml": "Cargo.toml.in",
    "README.md": "README.md.in",
    "build.rs": "build.rs",
    "migrations/0001_items.sql": "migrations/0001_items.sql",
    "schemas/released/{{name}}/ItemAdded/1.avsc": "schemas/ItemAdded.avsc",
    "schemas/released/{{name}}/ItemExpired/1.avsc": "schemas/ItemExpired.avsc",
    "schemas/{{name}}/ItemAdded.avsc": "schemas/ItemAdded.avsc",
    "schemas/{{name}}/ItemExpired.avsc": "schemas/ItemExpired.avsc",
    "src/api.rs": "src/api.rs",
    "src/lib.rs": "src/lib.rs",
    "src/main.rs": "src/main.rs",
    "src/participant.rs": "src/participant.rs",
    "tests/servers.rs": "tests/servers.rs",
    "tests/stories.rs": "tests/stories.rs",
    "{{name}}.toml": "config.toml",
];

/// All files with `values` (a placeholder's name and what it stands for) filled in.
pub(super) fn filled(values: &[(&str, String)]) -> impl Iterator<Item = (String, String)> {
    let fill =
        |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
    TEMPLATES.iter().map(move |(path, text)| (fill(path), fill(text)))
}
