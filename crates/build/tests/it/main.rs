//! What is said about schemas that can't be used, and what becomes of releases.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod code;
mod compatibility;
mod refused;
mod release;
mod rules;
mod topics;

use std::path::Path;

use farandole_build::Schemas;
use tempfile::TempDir;

/// A folder of schemas.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(path, text)| folder.write(path, text));
        folder
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.0.path().join(below)
    }

    fn schemas(&self) -> Schemas {
        Schemas::in_folder(self.0.path())
    }

    fn released(&self) -> Schemas {
        self.schemas().released(self.path("released"))
    }

    /// Paths as they are below the folder.
    fn plain(&self, problems: &[String]) -> Vec<String> {
        let root = format!("{}/", Path::new(self.0.path()).display());
        problems.iter().map(|problem| problem.replace(&root, "")).collect()
    }

    fn wrong<T>(&self, done: Result<T, farandole_build::Error>) -> Vec<String> {
        self.plain(done.err().expect("something is wrong").problems())
    }
}

/// A record `t.E` with a field `it`, and its attributes.
fn event(ty: &str, attributes: &str) -> String {
    format!(r#"{{"type": "record", "name": "E", "namespace": "t", "fields": [{{"name": "it", "type": {ty}{attributes}}}]}}"#)
}
