//! Mailpit, which takes mail over SMTP, sends none of it on, and shows it on a web page and by an API: `GET /api/v1/messages` lists it,
//! `GET /api/v1/message/{ID}` is one, `DELETE /api/v1/messages` removes all. It listens on loopback, calls nobody, and keeps the
//! newest [`KEPT`]; they outlast its restart.
//!
//! A recipient whose address begins with [`BOUNCES`] is refused with 550, as a mail server refuses one whom it doesn't know.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::folder::Run;
use crate::part::{Part, get};
use crate::process::Command;

/// What addresses begin with that are refused.
pub const BOUNCES: &str = "bounce";

/// Messages that are kept, the newest. An audit has to find each of them: ten minutes of the fault runner are some 60,000. It costs disk
/// alone, 6 kB for one of the shop's mails (measured: 577 MB for all), in the run's folder, which is removed with it. A page of 1,000
/// takes as long at the end as at the beginning (0.03 s), the whole of it 3 s.
pub const KEPT: u64 = 100_000;
/// The Go module as `go.sum` has it: its name, version and checksum. `scripts/mailpit` builds that one.
const MODULE: &str = include_str!("../../../deploy/stage/mailpit/module.sum");

/// Its two ports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub smtp: u16,
    pub web: u16,
}

/// Whether `scripts/install --mail` has built it in the stage's folder `dir`.
pub fn is_built(dir: &Path) -> bool {
    program(dir).is_file()
}

fn program(dir: &Path) -> PathBuf {
    let version = MODULE.split_whitespace().nth(1).unwrap_or_default();
    dir.join(format!("mailpit-{version}/mailpit"))
}

pub(crate) fn part(run: &Run, dir: &Path, ports: Ports) -> Result<Part, Error> {
    let folder = run.part("mail")?;
    let program = program(dir);
    // From the run's folder a relative path leads elsewhere.
    let program = program.canonicalize().unwrap_or(program);
    let command = Command::new("mail", program)
        .folder(&folder)
        .log(run.logs.join("mail.log"))
        .args(["--smtp".into(), format!("127.0.0.1:{}", ports.smtp), "--listen".into(), format!("127.0.0.1:{}", ports.web)])
        .args(["--database".into(), folder.join("mail.db")])
        .args(["--max", &KEPT.to_string(), "--disable-version-check", "--smtp-disable-rdns", "--block-remote-css-and-fonts"])
        .args(["--smtp-allowed-recipients".into(), all_but(BOUNCES)]);
    let web = ports.web;
    Ok(Part::new("mail", command, Box::new(move || get(web, "/readyz"))))
}

/// A pattern of what doesn't begin with `prefix`: its first letter differs, or its second, and so on. Go's patterns know no "not".
fn all_but(prefix: &str) -> String {
    let cases: Vec<String> = prefix.char_indices().map(|(i, letter)| format!("{}[^{letter}]", &prefix[..i])).collect();
    format!("(?i)^({})", cases.join("|"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_pattern_spells_not() {
        assert_eq!(super::all_but("abc"), "(?i)^([^a]|a[^b]|ab[^c])");
    }
}
