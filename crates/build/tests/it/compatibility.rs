//! Which changes are refused, and in which words.

use farandole_build::differences;

use crate::event;

fn found(old: &str, new: &str) -> Vec<String> {
    differences(old, new).unwrap()
}

#[test]
fn what_may_change() {
    let old = event("\"int\"", "");
    for (what, new) in [
        ("words", old.replace("\"it\"", "\"it\", \"doc\": \"It.\"")),
        ("a field with a default", old.replace("]}", r#", {"name": "n", "type": ["null", "int"], "default": null}]}"#)),
        ("a default", event("\"int\"", ", \"default\": 0")),
        ("somebody's own attribute", event("\"int\"", ", \"pii\": true")),
    ] {
        assert_eq!(found(&old, &new), [""; 0], "{what}");
        assert_eq!(found(&new, &old), [""; 0], "{what}, taken back");
    }
    let with = |symbols: &str| event(&format!(r#"{{"type": "enum", "name": "K", "symbols": [{symbols}], "default": "A"}}"#), "");
    assert_eq!(found(&with(r#""A""#), &with(r#""B", "A""#)), [""; 0], "a symbol");
}

#[test]
fn what_may_not() {
    let array = |items: &str| format!(r#"{{"type": "array", "items": {items}}}"#);
    let list = |symbols: &str| format!(r#"{{"type": "enum", "name": "K", "symbols": [{symbols}]}}"#);
    let record = |name: &str, fields: &str| format!(r#"{{"type": "record", "name": "{name}", "fields": [{fields}]}}"#);
    let fixed = |size: u8| format!(r#"{{"type": "fixed", "name": "F", "size": {size}}}"#);
    let defaulted = |name: &str| format!(r#"{{"name": "{name}", "type": "int", "default": 0}}"#);
    let (a, b) = (r#"{"name": "a", "type": "int"}"#, r#"{"name": "b", "type": "int"}"#);
    let money = |scale: u8| format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": {scale}}}"#);
    for (old, new, why) in [
        ("\"int\"".to_owned(), "\"long\"".to_owned(), "E.it: was int and is long; give it its type back"),
        ("\"string\"".to_owned(), "\"bytes\"".to_owned(), "E.it: was string and is bytes"),
        ("\"int\"".to_owned(), r#"["null", "int"]"#.to_owned(), "E.it: was int and is [null, int]"),
        (array("\"int\""), array("\"long\""), "E.it: was int and is long"),
        (
            r#"{"type": "string", "logicalType": "uuid"}"#.to_owned(),
            "\"string\"".to_owned(),
            "E.it: the logical type was uuid and is none",
        ),
        (money(2), money(3), "E.it: the logical type was decimal(9,2) and is decimal(9,3)"),
        (r#"["null", "int", "string"]"#.to_owned(), r#"["null", "int"]"#.to_owned(), "E.it: could be string and can't any more"),
        (r#"["null", "int"]"#.to_owned(), r#"["null", "int", "string"]"#.to_owned(), "E.it: can be string now"),
        (list(r#""A""#), list(r#""A", "B""#), "K: the symbol B is new, and older readers have no default"),
        (list(r#""A", "B""#), list(r#""A""#), "K: the symbol B is gone"),
        (fixed(2), fixed(3), "E.it: t.F was 2 bytes (plain) and is 3 bytes (plain)"),
        (record("R", a), record("S", a), "E.it: was t.R and is t.S; name the type R again"),
        (record("R", a), list("\"A\"").replace("\"K\"", "\"R\""), "E.it: t.R is another kind of type"),
        (record("R", a), record("R", &format!("{a}, {b}")), "R.b: new, without a default"),
        (record("R", &format!("{a}, {b}")), record("R", a), "R.b: gone, and without a default"),
        (
            format!("[{}, {}]", record("R", &format!("{a}, {}", defaulted("x"))), record("S", b)),
            format!(
                "[{}, {}]",
                record("R", &format!(r#"{a}, {{"name": "x", "type": "int"}}"#)),
                record("S", &format!("{b}, {}", defaulted("a")))
            ),
            "E.it: a t.S of one version can be taken for a t.R of the other",
        ),
    ] {
        let found = found(&event(&old, ""), &event(&new, ""));
        assert!(found.iter().any(|said| said.contains(why)), "{old} → {new}: {found:?}");
        assert!(found.iter().all(|said| said.contains(';') || said.contains("put it back")), "says what to do: {found:?}");
    }
    let moved = event("\"int\"", "").replace("\"t\"", "\"u\"");
    assert!(found(&event("\"int\"", ""), &moved)[0].starts_with("the full name was t.E and is u.E"));
    assert!(differences("{", &moved).unwrap_err().to_string().starts_with("the old version: isn't JSON"));
}
