//! Standard output that can't be written: its reader went away before the end, as `| head` does, or a disk is full.

use std::process::exit;

/// How a shell tells of a program that SIGPIPE has ended. Not 0: what wasn't told may have been that something is wrong.
const UNREAD: i32 = 128 + 13;
/// What [`println!`] panics with begins so. The words are the standard library's; it offers no other way to tell.
const WORDS: &str = "failed printing to stdout: ";

/// Where [`println!`] would panic, ends the process: quietly and with exit code 141, as most tools, when nobody reads any more; else with
/// the reason and 1. For programs whose standard output is data: called at their start, and again once another hook for panics is set.
pub fn end_with_the_reader() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match panic.payload_as_str().and_then(|words| words.strip_prefix(WORDS)) {
        Some(why) if why.starts_with("Broken pipe") => exit(UNREAD),
        Some(why) => {
            eprintln!("can't write to standard output: {why}");
            exit(1);
        }
        None => before(panic),
    }));
}
