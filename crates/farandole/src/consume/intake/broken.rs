//! Messages for a record that breaks its chain: what is wrong, and which command continues regardless.

use crate::consume::intake::Config;
use crate::consume::intake::judge::Broken;
use crate::wire::chain::{Place, Verdict};
use crate::wire::record::Record;

/// Of a record of `reader`'s.
pub(super) fn words(config: &Config, reader: &str, broken: &Broken) -> String {
    let Broken { record, link, verdict, head } = broken;
    let what = match verdict {
        Verdict::Ahead => "the record before it is missing",
        Verdict::Fork => "it starts a second history (fork)",
        _ => "the topic's beginning is missing",
    };
    let Record { topic, partition, offset, .. } = record;
    let set = |offset| config.set_position(reader, topic, *partition, offset);
    let how = match verdict {
        // One is forged, and nothing here tells which.
        Verdict::Fork => {
            format!("one of the two is forged. To skip this one: {}; to accept this one: {}", set(offset + 1), set(*offset))
        }
        // What it is taken for, it is: its number is the last from then on.
        _ => format!(
            "if the missing records are lost for good, continue from here: {}; if this record is a stray or forged, skip it: \
             {} (accepting a forged one would drop the genuine records after it as duplicates)",
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
