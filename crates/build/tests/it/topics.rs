//! Which topic an event is on.

use crate::{Folder, event};

#[test]
fn the_closest_word_counts() {
    let files = ["t/E.avsc", "t/F.avsc", "u/v/G.avsc", "H.avsc"];
    let text = |path: &str| {
        let name = path.rsplit('/').next().unwrap().trim_end_matches(".avsc");
        event("\"int\"", "").replace("\"E\"", &format!("\"{name}\"")).replace("\"t\"", "\"com.acme.t\"")
    };
    let folder = Folder::new(&files.map(|path| (path, text(path))).each_ref().map(|(path, text)| (*path, text.as_str())));
    let topics = |schemas: farandole_build::Schemas| {
        schemas.events().unwrap().into_iter().map(|event| event.topic.unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(topics(folder.schemas()), ["", "t", "t", "u.v"]);
    assert_eq!(topics(folder.schemas().default_topic("d")), ["d", "t", "t", "u.v"]);
    assert_eq!(topics(folder.schemas().topic("com.acme", "n")), ["n", "n", "n", "n"]);
    let said = folder.schemas().topic("com.acme", "n").topic("com.acme.t", "m").topic("t", "f").topic("t/F.avsc", "file");
    assert_eq!(topics(said.topic("com.acme.t.G", "g-1")), ["m", "f", "file", "g-1"]);
}

#[test]
fn an_event_without_a_topic_and_a_word_about_nothing_are_told() {
    let folder = Folder::new(&[("E.avsc", &event("\"int\"", ""))]);
    let said = folder.wrong(folder.schemas().code());
    assert_eq!(
        said,
        [
            "E.avsc: has no topic; put it in a folder with the topic's name, or name one in the build script: .default_topic(\"…\")"
        ]
    );
    let said = folder.wrong(folder.schemas().default_topic("a b").code());
    assert!(said[0].starts_with("E.avsc: \"a b\" can't be a topic of Kafka"), "{said:?}");
    let said = folder.wrong(folder.schemas().default_topic("d").topic("orders", "o").code());
    assert!(said[0].starts_with(".topic(\"orders\", \"o\"): no file, folder, record or namespace is called so"), "{said:?}");
}
