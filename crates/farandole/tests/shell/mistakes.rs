//! The page of mistakes that don't compile.

use std::path::Path;

/// `doc/mistakes.md` as it is read: without the lines that only make a snippet whole, and without what shows that it compiles once it
/// is put right.
fn page(source: &str) -> String {
    let mut page = String::new();
    let (mut in_code, mut skipped) = (false, false);
    for line in source.lines() {
        let fence = line.starts_with("```");
        let ends = in_code && fence;
        match line {
            "<!-- compiles -->" => skipped = true,
            _ if skipped => skipped = !ends,
            _ if in_code && (line == "#" || line.starts_with("# ")) => {}
            // Between what is hidden and what isn't.
            "" if page.ends_with("\n\n") || page.ends_with("```rust\n") => {}
            _ if fence && !in_code => page += &format!("{}\n", line.split(',').next().unwrap_or(line)),
            _ => page += &format!("{line}\n"),
        }
        in_code ^= fence;
    }
    page
}

#[test]
fn the_page_of_mistakes_is_what_is_tried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(folder.join("doc/mistakes.md")).unwrap();
    farandole::testing::committed(folder.join("../../docs/mistakes-that-dont-compile.md"), &page(&source));
}

/// Guard: each condition of [`page`].
#[test]
fn what_only_makes_a_snippet_whole_is_not_shown() {
    let source =
        "# A\n\n```rust,compile_fail\n# hidden\n\nshown // # shown\n#\n```\n\n<!-- compiles -->\n```rust\ntwin\n```\n\n# B\n";
    assert_eq!(page(source), "# A\n\n```rust\nshown // # shown\n```\n\n# B\n");
}
