//! What an error concerns.

/// What an error concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// This input: the others pass without it.
    Input,
    /// This batch: a smaller one may pass.
    Size,
    /// Somebody else was at the same rows.
    Collision,
    /// This session: another one may pass.
    Session,
    /// What is asked is away, or has trouble of its own.
    Dependency,
    /// Who called.
    Caller,
    /// Something that only a person changes: rights, a schema, an address.
    Person,
    /// Who runs this: another one has gone on.
    Owner,
}

impl Trouble {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 8] =
        [Self::Input, Self::Size, Self::Collision, Self::Session, Self::Dependency, Self::Caller, Self::Person, Self::Owner];

    /// In words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Input => "this input",
            Self::Size => "this batch",
            Self::Collision => "a collision",
            Self::Session => "this session",
            Self::Dependency => "this dependency",
            Self::Caller => "this caller",
            Self::Person => "an operator",
            Self::Owner => "this owner",
        }
    }

    /// What is done, in words.
    pub fn done(self) -> &'static str {
        match self {
            Self::Input => {
                "the batch is halved until the input is isolated; it parks, the others continue (a command: 500; a task: \
                 postponed)"
            }
            Self::Size => {
                "the batch is halved until it succeeds; an input that fails alone is retried for about ten seconds, then parks \
                 and is retried later"
            }
            Self::Collision => "the batch is retried at once",
            Self::Session => "the session is replaced and the batch retried; if that doesn't help, as for an operator",
            Self::Dependency => "nothing parks; the kit waits with growing pauses, and `/readyz` says for what",
            Self::Caller => "a 4xx that names the field",
            Self::Person => {
                "it waits and reports at ERROR and in `/readyz`; the batch is halved so that the others continue, and an input \
                 that fails alone while others succeed parks"
            }
            Self::Owner => {
                "it stops and the other one continues; a reader whose `intake.instance` was taken ends, and its service with \
                 exit code 1"
            }
        }
    }

    /// Whether a smaller batch may pass, or show which input it is.
    pub fn halves(self) -> bool {
        matches!(self, Self::Input | Self::Size | Self::Person)
    }

    /// Whether it ends without anybody's doing anything.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Collision | Self::Session | Self::Dependency)
    }
}
