//! `farandole graph`, as its users run it: on descriptions, and on topics with records that nobody declares.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use stage::Stage;

fn run(args: &[&str], input: &str) -> Output {
    let mut farandole = Command::new(env!("CARGO_BIN_EXE_farandole"));
    farandole.arg("graph").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = farandole.spawn().unwrap();
    // Who refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it prints, given descriptions.
fn printed(args: &[&str], input: &str) -> String {
    let output = run(args, input);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code, and what is said.
fn refused(args: &[&str], input: &str) -> (Option<i32>, String) {
    let output = run(args, input);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A shop that sells, one that sends, and their topics' prefix.
fn two(prefix: &str) -> String {
    let sales = json!({
        "name": "sales", "publishes": format!("{prefix}sales"), "events": ["s.Sold", "s.Paid"], "ends": ["s.Paid"],
        "hears": [format!("{prefix}parcels")], "reacts_to": ["p.Sent", "p.Lost"], "commands": "Sell", "deadlines": ["send"],
        "group": format!("{prefix}sales"), "migrations": ["1 (tables)"],
    });
    let parcels = json!({
        "name": "parcels", "publishes": format!("{prefix}parcels"), "events": ["p.Sent", "p.Lost"], "hears": [format!("{prefix}sales")],
        "reacts_to": ["s.Sold"], "effects": ["book"], "group": format!("{prefix}parcels"),
    });
    format!("{sales}\n{parcels}")
}

#[test]
fn every_output_says_who_tells_whom() {
    let two = two("");
    let text = printed(&[], &two);
    for words in [
        "2 services, 4 events, 1 of them an end",
        "Sold                     to parcels",
        "Paid                     an end",
        "book",
        "sets deadlines: send",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let mermaid = printed(&["--output", "mermaid", "-"], &two);
    for line in ["  s_sales -- \"Sold\" --> s_parcels\n", "  s_parcels -- \"Sent<br/>Lost\" --> s_sales\n", "<br/>deadline: send"]
    {
        assert!(mermaid.contains(line), "{line}: {mermaid}");
    }
    let dot = printed(&["--output", "dot"], &two);
    assert!(dot.contains("  \"service:parcels\" -> \"service:sales\" [label=\"Sent\\nLost\"]\n"), "{dot}");
    let asyncapi = printed(&["--output", "asyncapi"], &two);
    assert!(asyncapi.starts_with("asyncapi: \"3.0.0\"\n") && asyncapi.contains("\n  sales.consumes.parcels:\n"), "{asyncapi}");
    let json: Value = serde_json::from_str(&printed(&["--output", "json"], &two)).unwrap();
    assert_eq!((&json["events"][1]["end"], &json["problems"]), (&true.into(), &json!([])));
}

/// Guard: what is wrong is an exit code, and says what to do.
#[test]
fn what_can_not_be_drawn_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let of = |what: Value| what.to_string();
    let alone = of(json!({ "name": "a", "publishes": "a", "events": ["a.A"] }));
    let at = |path: &Path| path.display().to_string();
    let empty = at(folder.path());
    let slip = of(json!({ "name": "b", "publishes": "a", "events": ["a.A"], "ends": ["a.A"], "react_to": [] }));
    let deaf = of(json!({ "name": "b", "reacts_to": ["a.A"] }));
    let listless = folder.path().join("listless.json");
    std::fs::write(&listless, r#"{"name": "b", "hears": "t2"}"#).unwrap();
    let listless = at(&listless);
    let file_and_field =
        format!("reading {listless}: description of b: field `hears` is a text; it has to be a list of texts, such as [");
    let second = of(json!({ "name": "b", "publishes": "a", "events": ["b.B"], "ends": ["b.B"] }));
    let cases: [(&[&str], &str, i32, &str); 14] = [
        (&["--check"], &alone, 1, "in a's description, `\"ends\": [\"a.A\"]`"),
        (&["--check"], &format!("{second}{alone}"), 1, "b publishes to a, which is the topic of a; a topic has one service"),
        (&["--check"], &alone, 1, "nobody consumes; have a service subscribe to it, or declare it an end"),
        (&["--check", "--schemas", &empty], &alone, 1, "there is no schema; write its .avsc file"),
        (&[], "{}", 1, "`SERVICE describe --output json`"),
        (&[], "", 1, "there is no description"),
        (&[], &format!("{alone}{alone}"), 1, "give each service once"),
        (&["missing.json"], "", 1, "reading missing.json"),
        (&[&listless], "", 1, &file_and_field),
        (&["--check"], &slip, 1, "the description of b has a field `react_to`, which there isn't; did you mean `reacts_to`?"),
        (&["--check"], &format!("{alone}{deaf}"), 1, "b consumes a.A, and its description has no `hears`; name there the topics"),
        (&[], &format!("{alone}{deaf}"), 0, "has no `hears`"),
        (&["--pages", "docs"], &alone, 2, "--schemas"),
        (&["--observed", "--output", "dot"], &alone, 2, "--observed prints text or json"),
    ];
    for (args, input, code, words) in cases {
        let (ended, said) = refused(args, input);
        assert!(ended == Some(code) && said.contains(words), "{args:?} {input}: {ended:?} {said}");
    }
    // Without --check it is drawn all the same.
    let (ended, said) = refused(&[], &alone);
    assert!(ended == Some(0) && said.contains("nobody consumes"), "{ended:?} {said}");
}

/// Guard: a field that a later version may have is named and does no harm; what `describe` prints besides isn't named.
#[test]
fn what_a_later_version_describes_is_told_and_passes() {
    let later =
        json!({ "name": "a", "publishes": "a", "events": ["a.A"], "ends": ["a.A"], "retention": "1y", "migrations": ["1 (x)"] });
    let (ended, said) = refused(&["--check"], &later.to_string());
    let note = "farandole: the description of a has a field `retention`, which this version doesn't know and ignores\n";
    assert_eq!((ended, said.as_str()), (Some(0), note));
}

/// Guard: whatever a name has in it, it stays on its line, and obeys no terminal.
#[test]
fn names_break_no_lines() {
    let name = |of: &str| format!("{of}\n\u{1b}[2J");
    let event = name("a.A");
    let one = json!({ "name": name("one"), "publishes": name("topic"), "events": [event], "commands": name("Do"),
                      "deadlines": [name("late")], "effects": [name("call")] });
    let two = json!({ "name": name("two"), "hears": [name("topic")], "reacts_to": [event] });
    let text = printed(&[], &format!("{one}{two}"));
    let expected = r"2 services, 1 event, 0 of them ends

one\n\u{1b}[2J
  publishes to topic\n\u{1b}[2J
    A\n\u{1b}[2J             to two\n\u{1b}[2J
  takes commands: Do\n\u{1b}[2J
  sets deadlines: late\n\u{1b}[2J
  asks the outside world: call\n\u{1b}[2J

two\n\u{1b}[2J
  consumes from topic\n\u{1b}[2J: A\n\u{1b}[2J
";
    assert_eq!(text, expected);
    let (ended, said) = refused(&[], &format!("{one}{one}"));
    assert!(ended == Some(1) && said.lines().count() == 1 && said.contains(r"describes one\n\u{1b}[2J, and so"), "{said}");
}

/// A page for each event, from its schema's docs.
#[test]
fn pages_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (topic, name) in [("sales", "s.Sold"), ("sales", "s.Paid"), ("parcels", "p.Sent"), ("parcels", "p.Lost")] {
        let (namespace, short) = name.split_once('.').unwrap();
        let schema = json!({ "type": "record", "name": short, "namespace": namespace, "doc": format!("{short}, it says."),
                             "fields": [{ "name": "id", "type": "string", "doc": "Which." }] });
        write(&format!("schemas/{topic}/{short}.avsc"), &schema.to_string());
    }
    let at = |path: &str| folder.path().join(path).display().to_string();
    printed(&["--check", "--schemas", &at("schemas"), "--pages", &at("docs")], &two(""));
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
    let page = read("docs/events/parcels/Sent.md");
    assert!(
        page.contains("Sent, it says.") && page.contains("| `id` | string | Which. |") && page.contains("consumed by sales"),
        "{page}"
    );
    let whole = read("docs/choreography.md");
    assert!(
        whole.contains("| [Paid](events/sales/Paid.md) | Paid, it says. | – (an end) |") && whole.contains("```mermaid\n"),
        "{whole}"
    );
    assert!(read("docs/asyncapi.yaml").contains("schemaFormat"), "messages have their schemas");
}

/// Topics of the two services on the shared stage.
struct Topics {
    prefix: String,
    folder: tempfile::TempDir,
}

impl Topics {
    async fn new() -> Self {
        let stage = Stage::shared();
        let prefix = stage.sandbox().await.unwrap().prefix;
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", stage.kafka()).create().unwrap();
        let names = [format!("{prefix}sales"), format!("{prefix}parcels")];
        let new: Vec<NewTopic<'_>> = names.iter().map(|name| NewTopic::new(name, 2, TopicReplication::Fixed(1))).collect();
        for made in admin.create_topics(&new, &AdminOptions::new()).await.unwrap() {
            made.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("two.json"), two(&prefix)).unwrap();
        Self { prefix, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("two.json")
    }

    /// Sends a record that came of `cause`, and gives its place, as causes are written.
    async fn send(&self, topic: &str, partition: i32, (source, kind): (&str, &str), cause: &str) -> String {
        let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", Stage::shared().kafka()).create().unwrap();
        let topic = format!("{}{topic}", self.prefix);
        let link = format!("l=1;n=1;p=-;c={cause};k={};i=1/1", uuid::Uuid::now_v7());
        let mut headers = OwnedHeaders::new().insert(Header { key: "farandole", value: Some(&link) });
        for (key, value) in [("ce_source", source), ("ce_type", kind)].into_iter().filter(|(_, value)| !value.is_empty()) {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = FutureRecord::to(&topic).partition(partition).key("k").payload("v").headers(headers);
        let sent = producer.send(record, Duration::from_secs(10)).await.unwrap();
        format!("{topic}/{}/{}", sent.partition, sent.offset)
    }

    /// What was declared, once around.
    async fn once_around(&self) {
        let sold = self.send("sales", 0, ("/farandole/sales", "s.Sold"), "command/1").await;
        let sent = self.send("parcels", 1, ("/farandole/parcels", "p.Sent"), &sold).await;
        self.send("sales", 1, ("/farandole/sales", "s.Paid"), &sent).await;
        self.send("parcels", 1, ("/farandole/parcels", "p.Lost"), &sold).await;
    }

    /// What the group of sales has committed of a partition of parcels.
    fn commit(&self, partition: i32, offset: i64) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", Stage::shared().kafka()).set("group.id", format!("{}sales", self.prefix));
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&format!("{}parcels", self.prefix), partition, Offset::Offset(offset)).unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    fn observe(&self, args: &[&str]) -> (Option<i32>, Output) {
        let file = self.file().display().to_string();
        let output = run(&[&["--observed", "-b", Stage::shared().kafka(), &file], args].concat(), "");
        (output.status.code(), output)
    }

    /// What is named: which kind, and who. Read in parts it is the same.
    fn named(&self) -> BTreeSet<(String, String)> {
        let of = |args: &[&str]| {
            let (code, output) = self.observe(args);
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
            let is_whole = report["named"].as_array().unwrap().is_empty();
            assert_eq!(code, Some(i32::from(!is_whole)), "{report}");
            report
        };
        let report = of(&["--output", "json"]);
        assert_eq!(report, of(&["--output", "json", "--window", "1"]));
        let text = |one: &Value| one.as_str().unwrap_or_default().to_owned();
        let who = |one: &Value| format!("{} {}", text(&one["who"]), text(&one["event"])).trim_end().to_owned();
        report["named"].as_array().unwrap().iter().map(|one| (text(&one["what"]), who(one))).collect()
    }
}

fn names<const N: usize>(of: [(&str, &str); N]) -> BTreeSet<(String, String)> {
    of.into_iter().map(|(what, who)| (what.to_owned(), who.to_owned())).collect()
}

/// Guard: what is declared must be seen. An input of which nothing came counts once the group has committed an offset behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_seen_is_named() {
    let topics = Topics::new().await;
    let never = ["sales s.Sold", "sales s.Paid", "parcels p.Sent", "parcels p.Lost"].map(|who| ("never-published", who));
    assert_eq!(topics.named(), names(never), "what isn't published can't be consumed");
    topics.once_around().await;
    assert_eq!(topics.named(), names([("never-consumed", "sales p.Lost")]));
    topics.commit(1, 1);
    assert_eq!(topics.named(), names([("never-consumed", "sales p.Lost")]), "committed in front of it");
    topics.commit(0, 9);
    assert_eq!(topics.named(), names([("never-consumed", "sales p.Lost")]), "committed in another partition");
    topics.commit(1, 2);
    assert_eq!(topics.named(), BTreeSet::new());
    let (code, output) = topics.observe(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(code == Some(0) && text.ends_with("all is as declared\n"), "{text}");
    for line in [
        "  sales            Lost                     read; nothing came of it",
        "  parcels          Sold                     Lost (1), Sent (1)",
        "  sales            command                  Sold (1)",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

/// Guard: each kind of what nobody declares.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_declares_is_named() {
    let topics = Topics::new().await;
    topics.once_around().await;
    topics.commit(1, 2);
    let sold = format!("{}sales/0/0", topics.prefix);
    let paid = format!("{}sales/1/0", topics.prefix);
    // A producer that is in no description, that names no source, or that belongs to another topic.
    topics.send("sales", 0, ("/shadow", "s.Sold"), "command/2").await;
    topics.send("parcels", 0, ("", "p.Sent"), "command/2").await;
    topics.send("parcels", 0, ("/farandole/sales", "p.Sent"), "command/2").await;
    // A type that its publisher doesn't list, or none.
    topics.send("parcels", 0, ("/farandole/parcels", "p.Broken"), "deadline/send/019aa0f1-0000-7000-8000-000000000000").await;
    topics.send("parcels", 0, ("/farandole/parcels", ""), "command/2").await;
    // Something that came of what the service doesn't list, of its own event, or of a topic that it isn't subscribed to.
    topics.send("parcels", 0, ("/farandole/parcels", "p.Sent"), &paid).await;
    topics.send("sales", 0, ("/farandole/sales", "s.Paid"), &sold).await;
    topics.send("sales", 0, ("/farandole/sales", "s.Paid"), "elsewhere/0/7").await;
    let elsewhere = topics.send("sales", 0, ("/shadow", "p.Sent"), "command/2").await;
    topics.send("sales", 0, ("/farandole/sales", "s.Paid"), &elsewhere).await;
    let named = topics.named();
    let expected = names([
        ("undeclared-producer", "/shadow"),
        ("undeclared-producer", "(no ce_source)"),
        ("undeclared-producer", "sales"),
        ("undeclared-event", "parcels p.Broken"),
        ("undeclared-event", "parcels (no ce_type)"),
        ("undeclared-consumer", "parcels s.Paid"),
        ("undeclared-consumer", "sales s.Sold"),
        ("undeclared-consumer", "sales p.Sent"), // from its own topic
        ("undeclared-consumer", "sales"),
    ]);
    assert_eq!(named, expected);
    let text = String::from_utf8(topics.observe(&[]).1.stdout).unwrap();
    assert!(text.contains("undeclared producer: /shadow publishes to") && text.contains("give its description too"), "{text}");
}

/// Guard: a consumer that publishes nothing shows while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_nobody_declares_is_named() {
    let topics = Topics::new().await;
    topics.once_around().await;
    topics.commit(1, 2);
    let group = format!("{}spy", topics.prefix);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", Stage::shared().kafka()).set("group.id", &group);
    let spy: BaseConsumer = config.create().unwrap();
    spy.subscribe(&[&format!("{}sales", topics.prefix)]).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while spy.assignment().unwrap().count() == 0 {
        assert!(Instant::now() < until, "no partition was assigned");
        let _ = spy.poll(Duration::from_millis(100));
    }
    let expected = names([("undeclared-consumer", group.as_str())]);
    let mut named = topics.named();
    // The coordinator may tell of its members a moment later.
    while named != expected && Instant::now() < until {
        let _ = spy.poll(Duration::from_millis(100));
        named = topics.named();
    }
    assert_eq!(named, expected);
    drop(spy);
}

#[test]
fn topics_that_can_not_be_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.json");
    std::fs::write(&file, two("nobody-made-this.")).unwrap();
    let file = file.display().to_string();
    let (code, said) = refused(&["--observed", "-b", Stage::shared().kafka(), &file], "");
    assert!(code == Some(3) && said.contains("none of the topics is there") && said.contains("prefix"), "{code:?} {said}");
}
