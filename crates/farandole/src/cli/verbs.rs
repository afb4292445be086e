//! What an operator's verbs have in common, whoever's program has them: a service's own, or `farandole` for readers and outboxes
//! beside code of one's own.

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use crate::consume::again::InputAt;
use crate::consume::intake::operate::{Standings, To};
pub use crate::ground::text::{shown, shown_lines};
use crate::parking::operate::{Dropped, Queue, Queues};

/// How to print.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Output {
    /// Human-readable.
    Text,
    /// JSON, for scripts.
    Json,
}

/// What to do about parked inputs.
#[derive(Debug, Subcommand)]
pub enum Parked {
    /// List what is parked, one line per aggregate. The default.
    List,
    /// Retry an aggregate's parked inputs within a second.
    Retry {
        /// The name they are parked under: aggregate or key.
        aggregate: String,
    },
    /// Drop the input that blocks an aggregate or key: it never takes effect, and the inputs behind it are tried next. Refused if
    /// that input only waits behind an input that is parked under another name: drop that one, or pass --all.
    Drop {
        /// The name it is parked under: aggregate or key.
        aggregate: String,
        /// The reason. A service's journal keeps it; a reader of your own has none, so it is only printed.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
        /// Drop everything parked under this name now, including inputs that only wait behind another.
        #[arg(long)]
        all: bool,
    },
}

/// What to do about positions.
#[derive(Debug, Subcommand)]
pub enum Positions {
    /// List of each partition the next offset, how far behind that is, and the last record applied of each source. The default.
    List,
    /// Set the next offset of a partition. Prints what would be skipped or read again and changes nothing, unless --execute is given.
    /// The reader may be running: it continues from there within seconds. At the current offset or shortly ahead of it, chains are
    /// kept, except that of the record there if it doesn't fit; anywhere else, the next record of each source starts a new chain.
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// The topic.
        #[arg(long)]
        topic: String,
        /// The partition; all of them if omitted.
        #[arg(long)]
        partition: Option<i32>,
        /// An offset, `number:N` (the first record of number N or more, of a producer that uses the kit), `earliest` (the first record still
        /// there), `latest`, or a time (2026-01-31T12:00:00Z).
        #[arg(long, value_name = "OFFSET|number:N|earliest|latest|TIME")]
        to: To,
        /// The reason. A service's journal keeps it; a reader of your own has none, so it is only printed.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// Set it. Without it, nothing is changed.
        #[arg(long, requires = "reason")]
        execute: bool,
    },
}

const SET_EXAMPLES: &str = "\
Examples:
  What would be read again if a partition began at its earliest record:
    positions set --topic payments --partition 3 --to earliest
  Skip the record at offset 17, at which the partition has stopped:
    positions set --topic payments --partition 3 --to 18 --execute --reason 'sent by hand, no event'";

/// What to do about inputs.
#[derive(Debug, Subcommand)]
pub enum Inputs {
    /// Feed one record to the service again: it is decided on the state of now, as any input, and parks if it fails. Prints what is known of
    /// it and changes nothing, unless --execute is given. Positions and chains stay as they are. Effects are asked for under the keys that
    /// the service chooses: by default the same request has the same key.
    #[command(after_help = AGAIN_EXAMPLES)]
    Again {
        /// The record.
        #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
        input: InputAt,
        /// The reason. A service's journal keeps it; a reader of your own has none, so it is only printed.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// Feed it. Without it, nothing is changed.
        #[arg(long, requires = "reason")]
        execute: bool,
    },
}

const AGAIN_EXAMPLES: &str = "\
Examples:
  What is known of a record:
    inputs again payments/3/17
  Decide it again:
    inputs again payments/3/17 --execute --reason 'decided by the build with the wrong rate'";

/// Who acts, as the shell knows them.
pub fn operator() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    // Where nobody has logged in, as in a container: the user's number, and on which machine.
    name.unwrap_or_else(|| {
        let user = std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me));
        let user = user.map_or_else(|_| "unknown".to_owned(), |user| known(user).unwrap_or_else(|| format!("user {user}")));
        let host = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok()).unwrap_or_default();
        format!("{user} at {}", host.trim())
    })
}

/// The name of a user of this machine.
fn known(user: u32) -> Option<String> {
    let known = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut lines = known.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find_map(|line| (line.get(2)?.parse::<u32>().ok()? == user).then(|| (*line[0]).to_owned()))
}

/// Prints what is parked.
pub fn print_parked(queues: &Queues, output: Output) {
    match output {
        Output::Json => json(queues),
        Output::Text if queues.queues.is_empty() => eprintln!("nothing is parked"),
        Output::Text => print!("{}", parked(queues)),
    }
}

/// A line each, and one more when that isn't all.
fn parked(Queues { queues, more }: &Queues) -> String {
    let mut lines = String::new();
    for Queue { aggregate, also, inputs, since, attempts, next_try, first, reason } in queues {
        let also = also.as_ref().map(|also| format!(" (also {also})")).unwrap_or_default();
        let line =
            format!("{aggregate}: {inputs} since {since}, first {first}{also}, {attempts} attempts, next {next_try}: {reason}");
        lines.extend([&*shown(&line), "\n"]);
    }
    if *more {
        let listed = queues.len();
        lines.push_str(&format!(
            "… and more: these {listed} have waited longest. `farandole_parked_keys` counts all of them; `retry` and `drop` \
             also take keys that aren't listed\n"
        ));
    }
    lines
}

/// Prints the places of what was dropped, a line each. What else there is to say of it is in the log.
pub fn print_dropped(dropped: &[Dropped]) {
    dropped.iter().for_each(|Dropped { place, .. }| println!("{}", shown(&place.to_string())));
}

/// Prints where partitions are read next.
pub fn print_positions(standings: &Standings, output: Output) {
    if let Some(why) = &standings.lag_unknown {
        eprintln!("how far behind isn't known: {}", shown(why));
    }
    match output {
        Output::Text if standings.positions.is_empty() => eprintln!("no positions: nothing has been read yet"),
        _ => print(standings, output),
    }
}

/// Prints something that says itself how.
pub fn print(what: &(impl Serialize + std::fmt::Display), output: Output) {
    match output {
        Output::Text => print!("{}", shown_lines(&what.to_string())),
        Output::Json => json(what),
    }
}

fn json(what: &(impl Serialize + ?Sized)) {
    // Text, numbers, lists and maps with text keys always are JSON.
    println!("{}", serde_json::to_string_pretty(what).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(aggregate: &str, reason: &str) -> Queue {
        let time = || "2026-01-31T12:00:00Z".to_owned();
        let (aggregate, reason) = (aggregate.to_owned(), reason.to_owned());
        Queue {
            aggregate,
            also: None,
            inputs: 2,
            since: time(),
            attempts: 1,
            next_try: time(),
            first: "t/0/5".to_owned(),
            reason,
        }
    }

    /// Guards: a line is one line, whatever strangers name their keys; and a list that ends before what is parked says so.
    #[test]
    fn what_is_parked_is_told_in_a_line_each_and_its_end_is_said() {
        let all = Queues { queues: vec![queue("k\n\u{1b}[2Jk1: nothing", "bad \u{202e}"), queue("k2", "worse")], more: false };
        let text = parked(&all);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with(r"k\n\u{1b}[2Jk1: nothing: 2 since") && text.contains(r"bad \u{202e}"), "{text}");
        let text = parked(&Queues { more: true, ..all });
        assert!(text.lines().count() == 3 && text.lines().last().unwrap().starts_with("… and more: these 2"), "{text}");
    }
}
