//! Where the written service gets Farandole from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Where Farandole comes from.
pub(super) enum Kit {
    /// A release.
    Version,
    /// A checkout.
    Path(PathBuf),
}

impl Kit {
    /// The checkout at `path`; without one, the release of this tool's version.
    pub(super) fn find(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Version) };
        // Absolute: the service may be moved, and is written to a folder that isn't there yet.
        let root = path.canonicalize().with_context(|| format!("--kit {}", path.display()))?;
        if !root.join("crates/farandole/Cargo.toml").is_file() || !root.join("crates/build/Cargo.toml").is_file() {
            bail!("--kit {} is no checkout of Farandole: there is no crates/farandole and crates/build in it", path.display());
        }
        if root.to_str().is_none_or(|root| root.contains(['"', '\\'])) {
            bail!(
                "--kit {}: a path with quotes, backslashes or bytes that are no text can't be written to Cargo.toml",
                path.display()
            );
        }
        Ok(Self::Path(root))
    }

    /// What stands in the braces of `Cargo.toml` for the crate in folder `krate`.
    pub(super) fn dependency(&self, krate: &str) -> String {
        match self {
            Self::Version => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
            Self::Path(root) => format!("path = \"{}/crates/{krate}\"", root.display()),
        }
    }
}
