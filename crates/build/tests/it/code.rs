//! The code that is made. What it does, the crate `strange` tests.

use crate::{Folder, event};

#[test]
fn records_are_written_by_their_fields_places_in_binary_and_by_names_in_text() {
    let folder = Folder::new(&[("t/E.avsc", &event("\"long\"", "").replace("\"it\"", "\"isIt\""))]);
    let code = folder.schemas().code().unwrap();
    for line in [
        "pub mod t {",
        "#[derive(Debug, Clone, PartialEq, Eq, ::serde::Deserialize)]\n#[allow(clippy::all, clippy::pedantic)]\npub struct E {",
        "#[serde(rename = \"isIt\")]\npub is_it: i64,",
        "serializer.serialize_struct(\"E\", 1)?;\nrecord.serialize_field(\"isIt\", &self.is_it)?;",
        "serializer.serialize_tuple_struct(\"E\", 1)?;\nrecord.serialize_field(&self.is_it)?;",
        "pub const NAME: &'static str = \"t.E\";",
        "pub const TOPIC: &'static str = \"t\";",
        "(t::E::TOPIC, t::E::NAME, t::E::SCHEMA),",
    ] {
        assert!(code.contains(line), "{line} in\n{code}");
    }
    assert!(!code.contains("avro_serde") && !code.contains("uuid"), "asks for nothing but serde");
}

#[test]
fn uuid_is_asked_for_where_there_is_one() {
    let uuid = r#"{"type": "string", "logicalType": "uuid"}"#;
    let folder = Folder::new(&[("t/E.avsc", &event(&format!(r#"{{"type": "array", "items": {uuid}}}"#), ""))]);
    let code = folder.schemas().code().unwrap();
    assert!(code.contains("pub it: ::std::vec::Vec<::uuid::Uuid>,") && code.contains("use ::uuid::Uuid;"), "{code}");
    let folder = Folder::new(&[("t/E.avsc", &event("\"bytes\"", ""))]);
    assert!(!folder.schemas().code().unwrap().contains("uuid"));
}

#[test]
fn the_same_files_give_the_same_code() {
    let files = [("b/E.avsc", event("\"int\"", "")), ("a/E.avsc", event("\"int\"", ""))];
    let folder = Folder::new(&files.each_ref().map(|(path, text)| (*path, text.as_str())));
    let code = folder.schemas().code().unwrap();
    assert_eq!(folder.schemas().code().unwrap(), code);
    assert!(code.find("pub mod a").unwrap() < code.find("pub mod b").unwrap());
}

#[test]
fn tests_are_made_when_asked_for() {
    let folder = Folder::new(&[("t/E.avsc", &event("\"int\"", ""))]);
    assert!(!folder.schemas().code().unwrap().contains("wire_tests"));
    folder.released().release().unwrap();
    let code = folder.released().wire_tests().code().unwrap();
    assert!(code.contains("fn every_release_is_noted()") && code.contains("fn t_e()"), "{code}");
    assert!(code.contains("keeps_its_bytes::<super::t::E>(super::t::E::SCHEMA, &[(\""), "{code}");
}
