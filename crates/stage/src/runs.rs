//! The folders of runs in a stage's folder.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{At, Error};

/// Held while a run is set up or swept, so that nobody sweeps a folder of which the owner's lock is not taken yet.
pub(crate) fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let file = File::create(&path).at("creating", &path)?;
    file.lock().at("locking", &path)?;
    Ok(file)
}

/// Removes a folder in which something may still be writing its last.
pub(crate) fn remove(folder: &Path) {
    for _ in 0..20 {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => std::thread::sleep(std::time::Duration::from_millis(50)),
            _ => return,
        }
    }
    eprintln!("stage: {} could not be removed", folder.display());
}

/// The runs' folders, with or without an owner.
pub(crate) fn runs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with("run-")).map(|e| e.path()).collect()
}
