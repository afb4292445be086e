//! Writes the event types: reads every `<topic>/<Event>.avsc` beside this file and hands the texts to `build/generate.rs`.
//!
//! Prints no `rerun-if-changed`, so that Cargo's own rule holds: any file of the package, a new topic's folder too, runs it again.

#[path = "build/generate.rs"]
mod generate;

use std::{env, fs, path::Path, process::ExitCode};

use generate::SchemaFile;

/// Folders beside this file that are no topics.
const NO_TOPICS: &[&str] = &["build", "released", "src", "target", "tests"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|e| format!("{name}: {e}"));
    let (root, out) = (variable("CARGO_MANIFEST_DIR")?, variable("OUT_DIR")?);
    let mut files = Vec::new();
    for topic in names(Path::new(&root))? {
        let folder = Path::new(&root).join(&topic);
        if !folder.is_dir() || topic.starts_with('.') || NO_TOPICS.contains(&topic.as_str()) {
            continue;
        }
        for file in names(&folder)? {
            let Some(event) = file.strip_suffix(".avsc") else { continue };
            let text = fs::read_to_string(folder.join(&file)).map_err(|e| format!("schemas/{topic}/{file}: {e}"))?;
            files.push(SchemaFile { topic: topic.clone(), event: event.to_owned(), text });
        }
    }
    let code = generate::generate(&files)?;
    fs::write(Path::new(&out).join("events.rs"), code).map_err(|e| format!("writing the generated types: {e}"))
}

/// The folder's entries in the order of their names, so that the same files give the same code anywhere.
fn names(folder: &Path) -> Result<Vec<String>, String> {
    let broken = |e| format!("{}: {e}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(broken)? {
        names.push(entry.map_err(broken)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
