//! The rules that a team may switch on.

use farandole_build::Rules;

use crate::Folder;

const FINE: &str = r#"{"type": "record", "name": "Paid", "namespace": "acme.t", "doc": "It.", "fields": [
    {"name": "note", "doc": "It.", "type": ["null", "string"], "default": null},
    {"name": "way", "doc": "It.", "type": {"type": "enum", "name": "Way", "doc": "It.", "symbols": ["CARD", "OTHER"], "default": "OTHER"}},
    {"name": "at", "doc": "It.", "type": "long"}]}"#;

#[test]
fn each_rule_is_told_with_its_place() {
    let house = || Rules::house().namespaces("acme");
    let folder = Folder::new(&[("t/Paid.avsc", FINE)]);
    folder.schemas().rules(house()).code().unwrap();
    for (was, is, why) in [
        (r#""doc": "It.", "fields""#, r#""fields""#, "Paid has no doc"),
        (r#""name": "at", "doc": "It.""#, r#""name": "at", "doc": " ""#, "Paid.at has no doc"),
        (r#""Way", "doc": "It.""#, r#""Way""#, "Way has no doc"),
        (r#""at""#, r#""paidAt""#, "Paid.paidAt isn't snake_case"),
        (r#""Way""#, r#""way_of""#, "way_of isn't CamelCase"),
        ("\"CARD\"", "\"Card\"", "Way: Card isn't UPPER_SNAKE"),
        (r#", "default": "OTHER""#, "", "Way needs a default among its symbols"),
        (r#", "default": null"#, "", "Paid.note: nullable without a default"),
        (r#""type": "long""#, r#""type": ["null", "long"], "default": null"#, "Paid.at: a nullable field ends the record"),
        (r#""Paid""#, r#""Payed""#, "must be a record named Paid"),
        ("acme.t", "acme.u", "Paid must be in the namespace acme.t"),
        (r#""Way","#, r#""Way", "namespace": "b","#, "Way must be in the namespace acme.t"),
    ] {
        let broken = FINE.replace(was, is);
        assert_ne!(broken, FINE, "{why}");
        folder.write("t/Paid.avsc", &broken);
        let said = folder.wrong(folder.schemas().rules(house()).code());
        assert!(said.iter().any(|said| said.starts_with(&format!("t/Paid.avsc: {why}"))), "{why}: {said:?}");
        folder.schemas().rules(Rules::none()).code().unwrap();
    }
}
