//! Standard output whose reader went away before the end, as `| head` does.

use std::process::exit;

/// Ends the process quietly, with exit code 0, where [`println!`] would panic since nobody reads any more. For programs whose standard
/// output is data: called once, at their start.
pub fn end_with_the_reader() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The words are the standard library's; it offers no other way to tell.
        if panic.payload_as_str().is_some_and(|words| words.starts_with("failed printing to stdout: Broken pipe")) {
            exit(0);
        }
        before(panic);
    }));
}
