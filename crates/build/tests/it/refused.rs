//! What is refused, and in which words.

use crate::{Folder, event};

fn refused(text: &str) -> String {
    let folder = Folder::new(&[("t/E.avsc", text)]);
    let problems = folder.wrong(folder.schemas().code());
    assert_eq!(problems.len(), 1, "{problems:?}");
    let said = problems[0].strip_prefix("t/E.avsc: ").expect("names the file");
    assert!(said.contains(';') || said.contains("isn't JSON"), "says what to do: {said}");
    said.to_owned()
}

#[test]
fn types_that_can_not_be_used() {
    let empty = r#"{"type": "record", "name": "Empty", "fields": []}"#;
    let record = |name: &str, field: &str| format!(r#"{{"type": "record", "name": "{name}", "fields": [{field}]}}"#);
    let a = r#"{"name": "a", "type": "int"}"#;
    for (ty, why) in [
        (r#""Elsewhere""#.to_owned(), "E.it: the type \"Elsewhere\" isn't known; an Avro file stands alone"),
        (r#""E""#.to_owned(), "E.it: t.E contains itself"),
        (r#"["null", {"type": "array", "items": "t.E"}]"#.to_owned(), "E.it: t.E contains itself"),
        (r#"["null"]"#.to_owned(), "E.it: a union of 1 types"),
        (r#"[]"#.to_owned(), "E.it: a union of 0 types"),
        (r#"["null", ["int", "string"]]"#.to_owned(), "E.it: a union inside a union"),
        (r#"["int", "int"]"#.to_owned(), "E.it: int is in the union twice"),
        (
            r#"["null", {"type": "array", "items": "int"}, {"type": "array", "items": "long"}]"#.to_owned(),
            "array is in the union twice",
        ),
        (format!("[{}, {}]", record("A", a), record("B", a)), "E.it: a reader of another version may take a t.B for a t.A"),
        (format!(r#"[{}, {{"type": "map", "values": "int"}}]"#, record("A", a)), "may take a map of int for a t.A"),
        (r#"{"type": "array", "items": "null"}"#.to_owned(), "E.it: values that take no bytes"),
        (format!(r#"{{"type": "map", "values": {empty}}}"#), "E.it: values that take no bytes"),
        (r#"{"type": "array"}"#.to_owned(), "E.it: an array without \"items\""),
        (r#"{"type": "bytes", "logicalType": "uuid"}"#.to_owned(), "E.it: uuid on bytes"),
        (r#"{"type": "bytes", "logicalType": "big-decimal"}"#.to_owned(), "E.it: big-decimal on bytes"),
        (r#"{"type": "bytes", "logicalType": "decimal"}"#.to_owned(), "E.it: a decimal has a \"precision\""),
        (r#"{"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}"#.to_owned(), "E.it: a decimal has"),
        (r#"{"type": "fixed", "name": "F", "size": 15, "logicalType": "uuid"}"#.to_owned(), "F: a uuid has 16 bytes, not 15"),
        (r#"{"type": "fixed", "name": "F", "size": 0}"#.to_owned(), "F: a fixed has a \"size\" of 1 to 65536 bytes"),
        (r#"{"type": "fixed", "name": "F", "size": 65537}"#.to_owned(), "F: a fixed has a \"size\""),
        (r#"{"type": "enum", "name": "K", "symbols": []}"#.to_owned(), "K: an enum without \"symbols\""),
        (r#"{"type": "enum", "name": "K", "symbols": ["A", "A"]}"#.to_owned(), "K: the symbol \"A\" is there twice"),
        (r#"{"type": "enum", "name": "K", "symbols": ["a b"]}"#.to_owned(), "K: the symbol \"a b\""),
        (r#"{"type": "enum", "name": "K", "symbols": ["A"], "default": "B"}"#.to_owned(), "K: the default \"B\" is none of"),
        (record("E", ""), "E.it: t.E is defined twice"),
        (record("2E", ""), "E.it: the name \"t.2E\" must be words"),
        (record("A", &format!("{a}, {a}")), "A.a: there are two fields of this name"),
        (record("A", r#"{"name": "a-b", "type": "int"}"#), "A.a-b: a name has letters"),
        (record("A", r#"{"type": "int"}"#), "A: a field without a name"),
        (record("A", r#"{"name": "a"}"#), "A.a: no \"type\""),
        (r#"{"type": "record", "name": "A"}"#.to_owned(), "A: a record without \"fields\""),
        (r#"{"type": "record", "fields": []}"#.to_owned(), "E.it: a record without a name"),
        ("7".to_owned(), "E.it: 7 is no type"),
        ("{}".to_owned(), "E.it: a type without \"type\""),
    ] {
        let said = refused(&event(&ty, ""));
        assert!(said.contains(why), "{ty}: {said}");
    }
    assert!(refused("{").contains("isn't JSON"));
}

#[test]
fn defaults_are_values_of_their_types() {
    let array = r#"{"type": "array", "items": "int"}"#;
    let record = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 1}]}"#;
    for (ty, good, bad) in [
        (r#""int""#, "1", "2147483648"),
        (r#""long""#, "2147483648", "\"1\""),
        (r#""double""#, "1", "null"),
        (r#""float""#, "1.5", "1e39"),
        (r#""bytes""#, r#""\u007f""#, r#""\u00ff""#),
        (r#"{"type": "string", "logicalType": "uuid"}"#, r#""00000000-0000-0000-0000-000000000000""#, r#""nonsense""#),
        (r#"["string", "null"]"#, "\"x\"", "null"),
        (r#"{"type": "fixed", "name": "G", "size": 2}"#, "\"ab\"", r#""\u00ff\u0001""#),
        (r#""string""#, "\"\"", "0"),
        (r#""boolean""#, "true", "0"),
        (r#"["null", "int"]"#, "null", "\"x\""),
        (array, "[1, 2]", "[null]"),
        (r#"{"type": "map", "values": "int"}"#, "{\"a\": 1}", "[]"),
        (record, "{\"a\": 1}", "{\"b\": 1}"),
        (r#"{"type": "enum", "name": "K", "symbols": ["A"]}"#, "\"A\"", "\"B\""),
        (r#"{"type": "fixed", "name": "F", "size": 2}"#, "\"ab\"", "\"a\""),
    ] {
        let folder = Folder::new(&[("t/E.avsc", &event(ty, &format!(r#", "default": {good}"#)))]);
        folder.schemas().code().unwrap();
        let said = refused(&event(ty, &format!(r#", "default": {bad}"#)));
        assert!(said.starts_with("E.it: the default "), "{said}");
    }
}

/// What this takes, the codecs must take.
#[test]
fn apache_avro_agrees_about_defaults() {
    for (ty, default) in [("\"int\"", "1"), (r#"["string", "null"]"#, "\"x\""), (r#"["null", "string"]"#, "null")] {
        apache_avro::Schema::parse_str(&event(ty, &format!(r#", "default": {default}"#))).unwrap();
    }
}

#[test]
fn a_default_is_of_a_unions_first_type() {
    // Readers resolve it as that: any other is silently another value, or an error.
    let said = refused(&event(r#"["null", "string"]"#, r#", "default": "x""#));
    assert!(said.contains("none of the union's first type") && said.contains("put its type first"), "{said}");
}

#[test]
fn a_byte_order_mark_is_named() {
    assert!(refused(&format!("\u{feff}{}", event("\"int\"", ""))).starts_with("begins with a byte-order mark"));
}

#[test]
fn all_problems_of_all_files_are_told() {
    let folder = Folder::new(&[("t/E.avsc", &event("\"X\"", "")), ("t/F.avsc", "{"), ("t/G.avsc", &event("\"int\"", ""))]);
    assert_eq!(folder.wrong(folder.schemas().code()).len(), 2);
}

#[test]
fn two_definitions_of_one_name_differ_in_words_only() {
    let line = |field: &str, doc: &str| {
        format!(r#"{{"type": "record", "name": "Line", "doc": "{doc}", "fields": [{{"name": "{field}", "type": "string"}}]}}"#)
    };
    let of = |name: &str, line: String| event(&line, "").replace("\"E\"", &format!("\"{name}\""));
    let folder = Folder::new(&[("t/A.avsc", &of("A", line("sku", "x"))), ("t/B.avsc", &of("B", line("sku", "y")))]);
    assert_eq!(folder.schemas().code().unwrap().matches("pub struct Line ").count(), 1);
    folder.write("t/B.avsc", &of("B", line("ean", "y")));
    assert_eq!(
        folder.wrong(folder.schemas().code()),
        [
            "t/B.avsc: t.Line differs from its definition in t/A.avsc; make them the same, rename one, or put the files in two folders"
        ]
    );
    folder.write("t/B.avsc", &of("A", line("sku", "x")));
    assert_eq!(
        folder.wrong(folder.schemas().code()),
        ["t/B.avsc: describes t.A, as t/A.avsc does; delete one, or rename its record"]
    );
    // Nor is either noted as released: a build would refuse what is.
    assert_eq!(folder.wrong(folder.schemas().check()), folder.wrong(folder.schemas().code()));
    let releasing = folder.released();
    assert_eq!(folder.wrong(releasing.release()), folder.wrong(folder.schemas().code()));
    let folder = Folder::new(&[("t/A.avsc", &of("A", line("sku", ""))), ("u/A.avsc", &of("A", line("ean", "")))]);
    assert_eq!(
        folder.wrong(folder.schemas().code()),
        ["u/A.avsc: t.A is another record than in t/A.avsc; consumers know events by their full names, so rename one"]
    );
}
