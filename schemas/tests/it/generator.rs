//! What the generator refuses, and says about it.

#[path = "../../build/generate.rs"]
mod generate;

use generate::{SchemaFile, generate};

const NESTED: &str = r#"{"type": "array", "items": {"type": "record", "name": "Line", "doc": "A line.", "fields": [{"name": "sku", "doc": "It.", "type": "string"}]}}"#;

fn file(event: &str, field_type: &str) -> SchemaFile {
    let text = format!(
        r#"{{"type": "record", "name": "{event}", "namespace": "farandole.orders", "doc": "It.",
            "fields": [{{"name": "it", "doc": "It.", "type": {field_type}}}]}}"#
    );
    SchemaFile { topic: "orders".into(), event: event.into(), text }
}

fn refused(files: &[SchemaFile]) -> String {
    generate(files).expect_err("must be refused")
}

#[test]
fn a_shared_record_is_written_once() {
    let code = generate(&[file("A", NESTED), file("B", NESTED)]).unwrap();
    assert_eq!(code.matches("pub struct Line ").count(), 1);
    assert_eq!(code.matches("pub it: Vec<Line>,").count(), 2);
}

#[test]
fn two_definitions_of_one_record_are_refused() {
    let why = refused(&[file("A", NESTED), file("B", &NESTED.replace("sku", "ean"))]);
    assert_eq!(
        why,
        "schemas/orders/B.avsc: Line differs from its definition in schemas/orders/A.avsc; make them the same or rename one"
    );
}

#[test]
fn what_it_does_not_know_is_refused() {
    let uuid = r#"{"type": "string", "logicalType": "uuid"}"#;
    for (field_type, why) in [
        (r#""double""#, "A.it: type \"double\" isn't known"),
        (r#"{"type": "long", "logicalType": "timestamp-millis"}"#, "A.it: type \"long\" (timestamp-millis) isn't known"),
        (r#""Elsewhere""#, "A.it: type \"Elsewhere\" isn't known"),
        (r#"["string", "long"]"#, "A.it: the only union known"),
        (r#"["null", "long"]"#, "with \"default\": null"),
        (&format!(r#"{{"type": "array", "items": {uuid}}}"#), "A.it: a uuid can be a field only"),
        (r#"{"type": "enum", "name": "E", "doc": "It.", "symbols": ["A"]}"#, "E needs a default among its symbols"),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "A"}"#, "E has no doc"),
        (r#"{"type": "record", "name": "e", "doc": "It.", "fields": []}"#, "e isn't CamelCase"),
    ] {
        let said = refused(&[file("A", field_type)]);
        assert!(said.starts_with("schemas/orders/A.avsc: ") && said.contains(why), "{field_type}: {said}");
    }
}

#[test]
fn a_file_holds_the_event_of_its_name() {
    let misplaced = SchemaFile { event: "B".into(), ..file("A", r#""string""#) };
    assert_eq!(refused(&[misplaced]), "schemas/orders/B.avsc: must be a record named B in namespace farandole.orders");
    let broken = SchemaFile { text: "{".into(), ..file("A", r#""string""#) };
    assert!(refused(&[broken]).starts_with("schemas/orders/A.avsc: not JSON: "));
}
