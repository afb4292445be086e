//! How a state is reached, for people: a numbered story, a sequence diagram, and a test to paste.

use std::fmt::{self, Write as _};

use crate::fault::{Fault, TIMES};
use crate::step::Step;
use crate::world::World;

/// What doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    Fault(Fault),
    Invariant { which: usize, why: String },
    Unfinished(String),
}

impl Broken {
    /// Its name, more of it, and what a participant may not do, if it is that.
    pub fn told(self, world: &World) -> (String, String, Option<Fault>) {
        match self {
            Self::Fault(fault) => (world.named(&fault.name()), world.named(&fault.why()), Some(fault)),
            Self::Invariant { which, why } => (world.invariants[which].name.clone(), world.named(&why), None),
            Self::Unfinished(why) => ("unfinished business".to_owned(), why, None),
        }
    }
}

/// Who asks, and who answers.
pub(crate) const CALLER: &str = "caller";
pub(crate) const OUTSIDE: &str = "outside";

/// A way to a state in which something doesn't hold.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// What doesn't hold: an invariant's name, or what is wrong.
    pub violated: String,
    /// What the invariant says of the state.
    pub why: String,
    /// What a participant may not do, if it is that.
    pub fault: Option<Fault>,
    /// What happened, in order.
    pub chapters: Vec<Chapter>,
    /// Whether there is no shorter way: with several threads it is looked for once more with one, and the bounds may end that.
    pub shortest: bool,
    world: String,
    /// Who takes part, for the diagram.
    actors: Vec<&'static str>,
}

/// One step of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// What happened: by these words a [`Story`](crate::Story) finds the step again.
    pub step: String,
    /// What came of it.
    pub led_to: String,
    /// Rows that changed: where, before, and after.
    pub rows: Vec<(String, String, String)>,
    /// From whom to whom, for the diagram.
    pub(crate) arrow: Option<(Side, Side, String)>,
}

/// An end of an arrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    Caller,
    Outside,
    Actor(&'static str),
}

impl Counterexample {
    pub(crate) fn of(world: &World, steps: Vec<Step>, shortest: bool) -> Self {
        let mut state = world.begin();
        let mut chapters = Vec::new();
        for step in steps {
            let Some((next, happening)) = world.next(&state, &step, TIMES, false) else { continue };
            chapters.push(world.chapter(&state, &step, &next, happening.as_ref()));
            state = next;
        }
        let broken = world.broken(&state, true).unwrap_or(Broken::Fault(Fault::Unrepeatable));
        let (violated, why, fault) = broken.told(world);
        Self { violated, why, fault, chapters, shortest, world: world.name.clone(), actors: world.names.clone() }
    }

    /// The story as a Mermaid sequence diagram.
    pub fn mermaid(&self) -> String {
        let mut text = "sequenceDiagram\n    autonumber\n".to_owned();
        let _ = writeln!(text, "    participant {CALLER}");
        for name in &self.actors {
            let id = id(name);
            let _ = if id == *name {
                writeln!(text, "    participant {name}")
            } else {
                writeln!(text, "    participant {id} as {}", clean(name))
            };
        }
        let _ = writeln!(text, "    participant {OUTSIDE}");
        let mut last = CALLER.to_owned();
        for Chapter { step, arrow, led_to, .. } in &self.chapters {
            let Some((from, to, what)) = arrow else {
                let _ = writeln!(text, "    Note over {CALLER},{OUTSIDE}: {}", clean(step));
                continue;
            };
            let led_to = led_to.strip_prefix(&format!("{}: ", to.name())).unwrap_or(led_to);
            let (from, to) = (from.id(), to.id());
            let _ = writeln!(text, "    {from}->>{to}: {}", clean(what));
            if !led_to.is_empty() {
                let _ = writeln!(text, "    Note over {to}: {}", clean(led_to));
            }
            last = to;
        }
        let _ = writeln!(text, "    Note over {last}: violated: {}", clean(&self.violated));
        text
    }

    /// A test that goes the same way, and fails as long as what is wrong is.
    pub fn test(&self) -> String {
        let mut text = format!("#[test]\nfn {}() {{\n    // The world {:?}.\n", function(&self.violated), self.world);
        let Some((last, before)) = self.chapters.split_last() else {
            let _ = writeln!(text, "    assert_eq!(world().story().violated(), None);\n}}");
            return text;
        };
        let _ = writeln!(text, "    world()\n        .story()");
        if !before.is_empty() {
            let _ = writeln!(text, "        .given([");
            for chapter in before {
                let _ = writeln!(text, "            {:?},", chapter.step);
            }
            let _ = writeln!(text, "        ])");
        }
        let _ = writeln!(text, "        .when({:?})", last.step);
        let _ = writeln!(text, "        .then({:?});\n}}", self.violated);
        text
    }
}

/// Words without what ends a line of a diagram.
fn clean(words: &str) -> String {
    words.replace([';', '#', '\n'], ",")
}

impl Side {
    /// As people read it.
    fn name(&self) -> &str {
        match self {
            Self::Caller => CALLER,
            Self::Outside => OUTSIDE,
            Self::Actor(name) => name,
        }
    }

    /// As a diagram calls it.
    fn id(&self) -> String {
        match self {
            Self::Actor(name) => id(name),
            other => other.name().to_owned(),
        }
    }
}

/// What a diagram calls a participant: some names mean something else there.
fn id(name: &str) -> String {
    const TAKEN: &[&str] = &[
        CALLER,
        OUTSIDE,
        "activate",
        "actor",
        "alt",
        "and",
        "as",
        "autonumber",
        "box",
        "break",
        "create",
        "critical",
        "deactivate",
        "destroy",
        "else",
        "end",
        "left",
        "link",
        "links",
        "loop",
        "note",
        "opt",
        "option",
        "over",
        "par",
        "participant",
        "rect",
        "right",
        "sequencediagram",
        "title",
    ];
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain && !name.is_empty() && !TAKEN.contains(&name.to_ascii_lowercase().as_str()) {
        return name.to_owned();
    }
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("service_{plain}")
}

/// A function's name, from what is violated.
fn function(violated: &str) -> String {
    const TAKEN: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum",
        "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
        "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type",
        "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "world", "yield",
    ];
    let words = violated.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).take(10);
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_");
    match name.as_str() {
        "" => "it_holds".to_owned(),
        plain if plain.starts_with(|c: char| c.is_ascii_alphabetic()) && !TAKEN.contains(&plain) => name,
        _ => format!("it_holds_{name}"),
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        let longer = if self.shortest { "" } else { " (there may be a shorter way than this)" };
        writeln!(f, "violated: {}{why}{longer}\n", self.violated)?;
        for (i, chapter) in self.chapters.iter().enumerate() {
            writeln!(f, "{:>3}. {}", i + 1, chapter.step)?;
            if !chapter.led_to.is_empty() {
                writeln!(f, "     → {}", chapter.led_to)?;
            }
            for (at, before, after) in &chapter.rows {
                writeln!(f, "       {at}\n         before: {before}\n         after:  {after}")?;
            }
        }
        writeln!(f, "\nAs a diagram:\n\n{}\nAs a test:\n\n{}", self.mermaid(), self.test())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a participant whose name means something else in a diagram.
    #[test]
    fn a_diagram_calls_participants_by_names_that_mean_nothing_else() {
        assert_eq!(
            ["orders", "end", "caller", "Note", "a b"].map(id),
            ["orders", "service_end", "service_caller", "service_Note", "service_a_b"]
        );
    }
}
