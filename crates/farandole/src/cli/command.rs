//! The command line of a service, as it is read.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cli::verbs::{Inputs, Output, Parked, Positions};
use crate::heal::At;
use crate::rebuild;

pub(super) const EXAMPLES: &str = "\
Examples:
  Create or update tables, topics and schemas, then serve:
    NAME migrate --config NAME.toml && NAME serve --config NAME.toml
  Both in one command, for a first try:
    FARANDOLE_DATABASE_URL=postgres://me:secret@127.0.0.1:5432/NAME NAME serve --migrate
  Print all settings with the origin of each, and check them; exit code 0 means that they are valid:
    NAME --print-config
  Rebuild the tables from the service's topic and compare them with the live ones; then swap them:
    NAME rebuild --verify
    NAME rebuild --verify --execute
  List what is parked, and drop an input that can never succeed:
    NAME parked
    NAME parked drop order-17 --reason \"sent by a test\"
  List what operators did:
    NAME history
  Feed one input again: see what is known of it, then do it:
    NAME inputs again TOPIC/3/17
    NAME inputs again TOPIC/3/17 --execute --reason \"decided by a build with an error\"
  List the read positions; see what restarting a stopped partition from its earliest record would repeat, then do it:
    NAME positions
    NAME positions set --topic TOPIC --partition 3 --to earliest
    NAME positions set --topic TOPIC --partition 3 --to earliest --execute --reason \"its beginning has expired\"

Every setting `field` of `[section]` can also be set as FARANDOLE_SECTION_FIELD, which takes precedence over the file.

Exit codes: 0 success, or stopped on request; 1 failure; 2 wrong usage or configuration.";

const HEAL_EXAMPLES: &str = "\
Examples:
  How database and topics differ, and what would be done:
    heal
  Do it:
    heal --execute --reason \"restored last night's backup\"
  Without a record that nothing can be made of, which a refusal has named:
    heal --pass-over orders/3@1042 --execute

Exit codes: 0 they agree, or agree now, or were looked at; 1 refused or failed; 2 wrong usage or configuration.";

const REBUILD_EXAMPLES: &str = "\
Examples:
  Compare all tables with the topic; put the rebuilt ones in place if they are equal; go back to those before:
    rebuild --verify
    rebuild --verify --execute --reason \"a row was changed by hand\"
    rebuild --rollback --execute
  One order, compared and mended:
    rebuild --aggregate 0190f5fe-7c00-7a00-8000-000000000001
    rebuild --aggregate 0190f5fe-7c00-7a00-8000-000000000001 --execute --reason \"changed by hand\"
  The tables as they were, in a schema of their own:
    rebuild --until 2026-11-21T12:00:00Z
  A database that is lost, with an empty one in its place and the service stopped:
    rebuild --from-nothing
    rebuild --from-nothing --execute --reason \"the disk was lost\"
  What rebuilds have left beside the live tables:
    rebuild --clean
    rebuild --clean --execute

Exit codes: 0 done, or equal; 1 something differs, or it was refused or failed; 2 wrong usage or configuration.";

const HISTORY_EXAMPLES: &str = "\
Examples:
  The last ten things that were done:
    history --limit 10
  Who set positions:
    history --output json | jq '.entries[] | select(.verb == \"positions set\")'";

#[derive(Debug, Parser)]
#[command(version, about = "A service built on Farandole.")]
pub(super) struct Cli {
    /// TOML file with the configuration.
    #[arg(long, global = true, env = "FARANDOLE_CONFIG", value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Print the effective configuration as TOML, without secrets, and exit. Runs every check that needs no server, so use it to
    /// validate a configuration: all problems are printed on standard error, and the exit code is 2.
    #[arg(long, global = true)]
    pub print_config: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Serve until SIGTERM, SIGINT or SIGHUP; a second signal exits at once. The default command.
    Serve {
        /// Create missing tables, topics and schemas first.
        #[arg(long)]
        migrate: bool,
    },
    /// Create or update tables, topics and schemas. Safe to repeat, and to run while the service runs.
    Migrate,
    /// Reconcile database and topics after a restored backup or a lossy failover, when the service refuses to start. Prints how
    /// they differ and what would be done; --execute does it. Stop the service first.
    #[command(after_help = HEAL_EXAMPLES)]
    Heal {
        /// Skip the record at TOPIC/PARTITION@OFFSET, which is in this service's name and can't be folded: nothing of it is
        /// applied. A refusal names the record. Repeatable.
        #[arg(long, value_name = "TOPIC/PARTITION@OFFSET")]
        pass_over: Vec<At>,
        /// Give up what a topic lost and the outbox no longer holds, instead of refusing. A topic of state that lost records can't be
        /// rebuilt from.
        #[arg(long)]
        accept_lost: bool,
        /// Apply the changes. Without it, nothing is changed.
        #[arg(long)]
        execute: bool,
        /// The reason, recorded in the journal.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// Output format.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Rebuild the service's tables from its own topic, in a schema beside the live ones; the service may be running. Without
    /// --execute the live tables stay as they are. A rebuild that was interrupted continues where it was.
    #[command(after_help = REBUILD_EXAMPLES)]
    Rebuild {
        /// Rebuild the tables as they were when the event of this number had been applied, or all that had happened by this time (RFC
        /// 3339), in schema farandole_until_NUMBER.
        #[arg(long, help_heading = "The past", value_name = "NUMBER|TIME", conflicts_with_all = ["verify", "execute"])]
        until: Option<rebuild::Until>,
        /// Compare the rebuilt tables with the live ones, row by row; exit code 1 if they differ.
        #[arg(long, help_heading = "Compare and swap")]
        verify: bool,
        /// Put the rebuilt tables in place of the live ones, in one transaction; the previous ones stay in a schema farandole_replaced_….
        #[arg(long)]
        execute: bool,
        /// With --verify --execute: also if they differ.
        #[arg(long, help_heading = "Compare and swap", requires_all = ["verify", "execute"])]
        accept_differences: bool,
        /// With --execute: also if a column that neither events nor the service fill holds something, which the rebuilt rows won't.
        #[arg(long, help_heading = "Compare and swap", requires = "execute")]
        accept_defaults: bool,
        /// Skip the record at TOPIC/PARTITION@OFFSET, of which nothing can be made and which a heal has skipped as well: a refusal names it.
        /// Repeatable.
        #[arg(long, value_name = "TOPIC/PARTITION@OFFSET")]
        pass_over: Vec<At>,
        /// How many sets of replaced tables to keep.
        #[arg(long, help_heading = "Compare and swap", value_name = "N", default_value_t = 1)]
        keep: usize,
        /// Begin even if the disk seems to be too small.
        #[arg(long, help_heading = "Compare and swap")]
        ignore_space: bool,
        /// Compare the rows of this aggregate alone with what its events make; exit code 1 if they differ. With --execute, mend them. Rows
        /// that several aggregates change aren't looked at.
        #[arg(long, help_heading = "One aggregate", value_name = "ID", conflicts_with_all = ["until", "accept_differences", "keep", "ignore_space"])]
        aggregate: Option<String>,
        /// Put the tables back that the last swap replaced. Refused if something was decided since.
        #[arg(long, help_heading = "Go back, tidy up", conflicts_with_all = ["until", "verify", "aggregate"])]
        rollback: bool,
        /// With --rollback: also if something was decided since; the tables then lack it, and only another rebuild brings it back.
        #[arg(long, help_heading = "Go back, tidy up", requires = "rollback")]
        lose: bool,
        /// List what rebuilds have left beside the live tables, replaced ones included; with --execute, drop it.
        #[arg(long, help_heading = "Go back, tidy up", conflicts_with_all = ["until", "verify", "aggregate", "rollback"])]
        clean: bool,
        /// Make the whole database from the topics: tables, state, deadlines, effects, answers, positions and what was parked. For a database
        /// that is lost, so it has to be empty. Prints what it would do; --execute does it. Stop the service first.
        #[arg(long, help_heading = "A lost database", conflicts_with_all = ["until", "verify", "aggregate", "rollback", "clean", "keep"])]
        from_nothing: bool,
        /// Fill what no event does (`describe` names it), as after a swap; without --execute, list it.
        #[arg(long, help_heading = "What no event fills", conflicts_with_all = ["until", "verify", "aggregate", "rollback", "clean", "keep", "from_nothing"])]
        derived: bool,
        /// For a build that refuses to start because it makes other rows of the same events: compare, and with --execute let the tables stay
        /// as they are.
        #[arg(long, help_heading = "A changed build", conflicts_with_all = ["until", "verify", "aggregate", "rollback", "clean", "keep", "from_nothing", "derived"], requires_if("true", "reason"))]
        accept_fold: bool,
        /// The reason, recorded in the journal.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// Output format.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print what the service subscribes to, publishes and stores.
    Describe {
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the OpenAPI description of the routes.
    Openapi,
    /// Feed one input to the service again.
    Inputs {
        #[command(subcommand)]
        what: Inputs,
        /// Output format.
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// List what operators did with this service: who, when, why, what, and what came of it; the newest last.
    #[command(after_help = HISTORY_EXAMPLES)]
    History {
        /// How many entries, at most 10000.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Output format.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Refused: a participant is never replayed. It says what to do instead.
    #[command(hide = true)]
    Replay {
        /// Whatever a handler's replay is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// List inputs that can't be processed; retry or drop them.
    Parked {
        #[command(subcommand)]
        what: Option<Parked>,
        /// Output format.
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// List the read positions of subscribed topics and how far behind they are, or set one when a partition has stopped.
    Positions {
        #[command(subcommand)]
        what: Option<Positions>,
        /// Output format.
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}
