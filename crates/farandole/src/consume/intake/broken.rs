//! What is said of a record that breaks its chain: what is wrong, and what an operator runs to go on all the same.

use crate::consume::intake::Config;
use crate::consume::intake::judge::Broken;
use crate::wire::chain::{Place, Verdict};
use crate::wire::record::Record;

/// Of a record of `reader`'s.
pub(super) fn words(config: &Config, reader: &str, broken: &Broken) -> String {
    let Broken { record, link, verdict, head } = broken;
    let what = match verdict {
        Verdict::Ahead => "the record before it is missing",
        Verdict::Fork => "it begins a second history",
        _ => "the topic's beginning is missing",
    };
    let Record { topic, partition, offset, .. } = record;
    let set = |offset| config.set_position(reader, topic, *partition, offset);
    let how = match verdict {
        // One is forged, and nothing here tells which.
        Verdict::Fork => {
            format!(
                "one of the two is forged: to pass over this one: {}; to take it for the true one: {}",
                set(offset + 1),
                set(*offset)
            )
        }
        // What it is taken for, it is: its number is the last from then on.
        _ => format!(
            "if what is missing is lost for good, to go on from here: {}; if this one is a stray or forged, to pass over it: {} (taken for \
             a true one it would have the true ones behind it dropped as repetitions)",
            set(*offset),
            set(offset + 1)
        ),
    };
    let show = |place: Option<Place>| place.map_or_else(|| "none".to_owned(), |p| p.to_string());
    format!(
        "{topic}/{partition}@{offset} has number {} after {}, but the last applied is {}: {what}. `farandole verify {topic}` shows the \
         topic's chains; {how}",
        link.place,
        show(link.previous),
        show(head.map(|head| head.place)),
    )
}
