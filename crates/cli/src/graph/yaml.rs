//! JSON as YAML, in blocks.

use std::fmt::Write as _;

use serde_json::Value;

/// Words that YAML reads as something else than text, in one of its versions.
const NO_TEXT: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

/// `value` as a YAML document. Keys come as the value has them.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// `value` on lines of its own, each with `indent` spaces in front.
fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let _ = write!(text, "{:indent$}{}:", "", scalar(name));
                below(value, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(text, "{:indent$}-", "");
                if is_empty(item) {
                    below(item, indent, text);
                } else {
                    // The first line stands beside the dash.
                    let mut inner = String::new();
                    block(item, indent + 2, &mut inner);
                    let _ = write!(text, " {}", &inner[indent + 2..]);
                }
            }
        }
        _ => drop(writeln!(text, "{:indent$}{}", "", flat(value))),
    }
}

fn below(value: &Value, indent: usize, text: &mut String) {
    if is_empty(value) {
        let _ = writeln!(text, " {}", flat(value));
    } else {
        text.push('\n');
        block(value, indent + 2, text);
    }
}

/// Whether it fits on the line of what names it.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text without quotes where it can't be read as anything else; else in JSON's, which YAML has too.
fn scalar(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let plain = |c: char| c.is_ascii_alphanumeric() || " _-./(),;".contains(c);
    let is_plain = first && text.chars().all(plain) && !text.ends_with(' ') && !NO_TEXT.contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_lists_and_texts_are_blocks() {
        let value = json!({
            "a": { "none": {}, "list": [1, "two", [], { "x": null, "y": [true] }, [[3]]] },
            "texts": ["plain text", "no", "3.0.0", "a: b", "#/a", "", " a", "two\nlines", "it's"],
        });
        let expected = "a:\n  list:\n    - 1\n    - two\n    - []\n    - x: null\n      \"y\":\n        - true\n    - - - 3\n  none: {}\n\
                        texts:\n  - plain text\n  - \"no\"\n  - \"3.0.0\"\n  - \"a: b\"\n  - \"#/a\"\n  - \"\"\n  - \" a\"\n  \
                        - \"two\\nlines\"\n  - \"it's\"\n";
        assert_eq!(yaml(&value), expected);
    }
}
