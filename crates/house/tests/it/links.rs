//! Every relative link of the documents leads somewhere: to a file or folder of the workspace and, where it names one, to a heading.
//!
//! For what the documents here use: inline links, HTML's `src`, `srcset` and `href`, fenced and inline code, headings with `#`. Links to
//! other hosts aren't followed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::workspace;

/// All documents below `folder`, except in hidden folders and in what is built.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let skipped = path.file_name().is_some_and(|name| name == "target" || name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !skipped {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines of `text` outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut open: Option<&str> = None;
    text.lines().filter(move |line| {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(*mark));
        match (open, mark) {
            (None, Some(_)) => open = mark,
            (Some(fence), Some(mark)) if fence == mark => open = None,
            _ => return open.is_none(),
        }
        false
    })
}

/// `line` without its inline code.
fn without_code(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some(at) = rest.find('`') {
        text.push_str(&rest[..at]);
        let ticks = rest[at..].bytes().take_while(|byte| *byte == b'`').count();
        let (code, behind) = rest[at..].split_at(ticks);
        rest = behind.split_once(code).map_or(behind, |(_, behind)| behind);
    }
    text + rest
}

/// The targets of the links in `line`, but for those at other hosts.
fn links(line: &str) -> Vec<String> {
    let marks = ["](", "src=\"", "srcset=\"", "href=\""];
    let targets = marks.into_iter().flat_map(|mark| line.split(mark).skip(1));
    let targets = targets.map(|rest| rest.split([')', '"', ' ']).next().unwrap_or_default());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).map(str::to_owned).collect()
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let heading = heading.trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of `text`: the second heading of a name gets `-1`.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::<String, usize>::new();
    let mut found = BTreeSet::new();
    for line in prose(text) {
        let Some(heading) = line.strip_prefix('#').and_then(|rest| rest.trim_start_matches('#').strip_prefix(' ')) else {
            continue;
        };
        let slug = slug(heading);
        let before = times.entry(slug.clone()).or_default();
        found.insert(if *before == 0 { slug } else { format!("{slug}-{before}") });
        *before += 1;
    }
    found
}

/// The links of `document` that lead nowhere. `root` is canonical.
fn broken(root: &Path, document: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(document).unwrap();
    let mut broken = Vec::new();
    for target in prose(&text).flat_map(|line| links(&without_code(line))) {
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let file = if path.is_empty() { document.to_owned() } else { document.parent().unwrap().join(path) };
        let why = match file.canonicalize() {
            Err(_) => "there is no such file",
            Ok(file) if !file.starts_with(root) => "this is outside of the workspace",
            Ok(file) if anchor.is_empty() || file.extension().is_none_or(|extension| extension != "md") => continue,
            Ok(file) if anchors(&std::fs::read_to_string(&file).unwrap()).contains(anchor) => continue,
            Ok(_) => "there is no such heading",
        };
        broken.push(format!("{}: {target}: {why}", document.display()));
    }
    broken
}

#[test]
fn every_link_leads_somewhere() {
    let root = workspace().canonicalize().unwrap();
    let mut found = Vec::new();
    documents(&root, &mut found);
    assert!(found.len() >= 10, "{found:?}");
    let broken: Vec<String> = found.iter().flat_map(|document| broken(&root, document)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Guard: each condition of [`broken`], [`prose`] and [`without_code`].
#[test]
fn links_that_lead_nowhere_are_found() {
    let cases = [
        ("[a](b.md)", 0),
        ("[a](b.md#one-two)", 0),
        ("[a](b.md#one-two-1) and [c](b.md#the-code-heading)", 0),
        ("[a](b.md#three)", 1),
        ("[a](#here) and [b](#there)", 1),
        ("[a](folder) and [b](folder/c.md#up)", 0),
        ("[a](missing.md) and <img src=\"missing.svg\">", 2),
        ("[a](../outside.md)", 1),
        ("[a](https://example.org/missing.md#x)", 0),
        ("`[a](missing.md)` and ``[`b`](missing.md)``", 0),
        ("```text\n[a](missing.md)\n```\n[b](missing.md)", 1),
        ("  ```text\n  [a](missing.md)\n  ```", 0),
        ("```text\n# No heading\n```\n[a](#no-heading)", 1),
    ];
    for (text, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("root");
        std::fs::create_dir_all(root.join("folder")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        write("../outside.md", "");
        write("b.md", "# One two\n## One two\n### The `code` heading\n");
        write("folder/c.md", "## Up\n[up](../b.md)\n");
        write("a.md", &format!("# Here\n{text}\n"));
        let mut found = Vec::new();
        documents(&root, &mut found);
        assert_eq!(found.len(), 3);
        let broken: Vec<String> = found.iter().flat_map(|document| broken(&root, document)).collect();
        assert_eq!(broken.len(), expected, "{text}: {broken:?}");
    }
}

/// The code on the front page is the example's, which is compiled and tested.
#[test]
fn the_code_on_the_front_page_is_the_examples() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (readme, example) = (read("README.md"), read("examples/loyalty/src/lib.rs"));
    let code = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let indented: String =
        code.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect();
    assert!(code.lines().count() > 8 && example.contains(&indented), "README.md shows other code than examples/loyalty:\n{code}");
}
