//! The code in docs/getting-started.md is compiled somewhere: each block stands in a source of the workspace or of `examples/outside`, or in a
//! README whose code is tested, but for white space, comments and what documentation hides.

use std::path::Path;

use crate::workspace;

const DOCUMENT: &str = "docs/getting-started.md";
/// The first page of a crate's documentation.
const TESTED: &str = "crates/outbox/README.md";

/// `code` without white space, comments, hidden lines of documentation, and the commas that come with line breaks.
fn bare(code: &str) -> String {
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//") && *line != "#" && !line.starts_with("# "));
    let lines = lines.map(|line| line.split(" // ").next().unwrap_or_default());
    let text: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    text.replace(",}", "}").replace(",)", ")")
}

/// What a source documents as code.
fn documented(source: &str) -> String {
    let lines = source.lines().map(str::trim).filter_map(|line| line.strip_prefix("//!").or_else(|| line.strip_prefix("///")));
    lines.map(|line| format!("{line}\n")).collect()
}

/// All Rust sources below `folder`, bare, and what is documented in them.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target" && name != "templates") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(path).unwrap();
            found.extend([bare(&source), bare(&documented(&source))]);
        }
    }
}

#[test]
fn the_code_for_beginners_is_compiled() {
    let mut found = vec![bare(&std::fs::read_to_string(workspace().join(TESTED)).unwrap())];
    ["crates", "examples", "services"].iter().for_each(|folder| sources(&workspace().join(folder), &mut found));
    let text = std::fs::read_to_string(workspace().join(DOCUMENT)).unwrap();
    let blocks: Vec<&str> = text.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "the blocks weren't found");
    for block in blocks {
        let wanted = bare(block);
        assert!(found.iter().any(|source| source.contains(&wanted)), "no source has this code of {DOCUMENT}:\n{block}");
    }
}

#[test]
fn what_differs_beyond_words_and_space_is_found() {
    let source = bare("//! ```\n//! let a = 1;\n//! ```\nfn f() {\n    g(\n        1,\n    ); // words\n}\n");
    assert!(source.contains(&bare("fn f() { g(1); }")));
    assert!(!source.contains(&bare("fn f() { g(2); }")));
    assert!(bare(&documented("//! # hidden\n//! let a = 1;\n//!\n/// b();\n")).contains(&bare("let a = 1;\nb();")));
}
