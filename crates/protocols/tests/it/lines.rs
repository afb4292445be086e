//! The kit's lines that models stand for are there.

use std::path::Path;

#[test]
fn the_lines_that_a_model_stands_for_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let models = [
        ("chain", protocols::chain::STANDS_FOR),
        ("heal", protocols::heal::STANDS_FOR),
        ("parking", protocols::parking::STANDS_FOR),
        ("position", protocols::position::STANDS_FOR),
        ("relay", protocols::relay::STANDS_FOR),
        ("swap", protocols::swap::STANDS_FOR),
    ];
    for (model, lines) in models {
        assert!(!lines.is_empty(), "{model}");
        for (file, line) in lines {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{model}: {file}: {error}"));
            assert!(text.contains(line), "{model} stands for `{line}`, which isn't in {file} any more: look at the model");
        }
    }
}
