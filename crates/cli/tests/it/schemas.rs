//! `farandole schemas`: on folders, and on what a registry has.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const PAID: &str = r#"{"type": "record", "name": "Paid", "namespace": "acme", "fields": [{"name": "sum", "type": "long"}]}"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("schemas/billing")).unwrap();
    write(&folder, PAID);
    folder
}

fn write(folder: &TempDir, schema: &str) {
    std::fs::write(folder.path().join("schemas/billing/Paid.avsc"), schema).unwrap();
}

/// Its exit code, what it says, and what it complains of.
fn tool(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_farandole")).arg("schemas").args(args).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_release_is_noted_and_an_incompatible_one_refused() {
    let folder = folder();
    let run = |args: &[&str]| tool(folder.path(), args);
    let (code, _, wrong) = run(&["check"]);
    assert_eq!(code, 1);
    assert_eq!(wrong, "farandole: schemas/billing/Paid.avsc isn't released yet; note it with `farandole schemas release`\n");
    let (code, said, _) = run(&["release"]);
    assert_eq!(code, 0);
    assert!(said.starts_with("schemas/billing/Paid.avsc: noted version 1 as schemas/released/billing/Paid/1.avsc\n"), "{said}");
    assert_eq!(run(&["release"]).1, "nothing to note: what is released is as it was\n");
    assert_eq!(run(&["check"]), (0, "schemas: 1, released versions: 1; they read each other\n".to_owned(), String::new()));

    write(&folder, &PAID.replace("long", "int"));
    let (code, said, wrong) = run(&["release", "schemas"]);
    assert_eq!((code, said.as_str()), (1, ""));
    let why = "Paid.sum: was long and is int; give it its type back, and the new one to a new field with a default\n";
    assert!(wrong.contains(why) && wrong.ends_with("nothing was noted\n"), "{wrong}");
    assert_eq!(run(&["check", "nowhere"]).0, 1);
    assert_eq!(run(&["check", "--topic", "acme=billing"]).0, 2, "that is for a registry");
}

/// Answers with what is stored under a path, and as a registry does when there is nothing.
fn registry(stored: Vec<(&'static str, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/base", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(|line| line.unwrap());
            let asked = lines.next().unwrap();
            assert!(lines.take_while(|line| !line.is_empty()).count() > 0);
            let path = asked.split(' ').nth(1).unwrap();
            let found = stored.iter().find(|(known, _)| path == format!("/base/subjects/{known}"));
            let (status, body) = match found {
                Some((_, body)) => ("200 OK", body.as_str()),
                None => ("404 Not Found", r#"{"error_code": 40401, "message": "Subject not found"}"#),
            };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        }
    });
    address
}

fn version(schema: &str) -> String {
    serde_json::json!({ "schema": schema, "id": 1, "version": 1 }).to_string()
}

#[test]
fn a_registrys_versions_are_compared() {
    let folder = folder();
    let url = registry(vec![
        ("billing-acme.Paid/versions", "[1, 3]".to_owned()),
        ("billing-acme.Paid/versions/1", version(PAID)),
        (
            "billing-acme.Paid/versions/3",
            version(&PAID.replace("]}", r#", {"name": "note", "type": "string", "default": ""}]}"#)),
        ),
        ("p-sums-value/versions", "[1]".to_owned()),
        ("p-sums-value/versions/1", version(&PAID.replace("long", "int"))),
        ("acme.Paid/versions", "[7]".to_owned()),
        ("acme.Paid/versions/7", r#"{"schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF"}"#.to_owned()),
    ]);
    let run = |more: &[&str]| tool(folder.path(), &[&["check", "--registry", &url], more].concat());
    assert_eq!(run(&[]), (0, "events: 1, versions at the registry: 2; they read each other\n".to_owned(), String::new()));
    let said = run(&["--topic", "acme=sums"]).1;
    assert_eq!(said, "events: 1 (1 without one yet), versions at the registry: 0; they read each other\n");
    let (code, _, wrong) = run(&["--subjects", "topic", "--topic", "acme=sums", "--prefix", "p-"]);
    assert_eq!(code, 1);
    assert!(
        wrong.contains("schemas/billing/Paid.avsc against version 1 of p-sums-value: Paid.sum: was int and is long;"),
        "{wrong}"
    );
    let (code, _, wrong) = run(&["--subject-strategy", "record"]);
    assert_eq!(code, 1);
    assert!(wrong.contains("version 7 of acme.Paid: can't be compared: it is PROTOBUF, not Avro"), "{wrong}");
}

#[test]
fn a_registry_that_does_not_answer_is_no_verdict() {
    let folder = folder();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, wrong) = tool(folder.path(), &["check", "--registry", &format!("http://user:secret@{nobody}")]);
    assert_eq!(code, 3);
    assert!(
        wrong.contains("asking the registry for subjects/billing-acme.Paid/versions") && !wrong.contains("secret"),
        "{wrong}"
    );
}
