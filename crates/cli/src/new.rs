//! `farandole new`: writes a service that builds, runs and passes its tests.

mod kit;
mod names;
mod templates;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use kit::Kit;
use names::{check_name, check_namespace};

const EXAMPLES: &str = "\
Examples:
  farandole new parcels --kit ~/src/farandole             in ./parcels, on a checkout of Farandole
  farandole new parcels services/parcels --namespace com.acme
                                                          events are com.acme.parcels.ItemAdded and so on

It has a participant with a command, two events, a table and a deadline, routes, schemas, settings, and tests with and without servers.";

/// What to write.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct New {
    /// The service's name: of its package, program, topic and folder of schemas. Consumers know its events by it, so it stays
    name: String,
    /// The folder to write, which must not be there yet, or be empty [default: ./NAME]
    path: Option<PathBuf>,
    /// The namespace of your schemas; the service's name is added to it. Without it, that name alone
    #[arg(long)]
    namespace: Option<String>,
    /// A checkout of Farandole to depend on by path, instead of a release of this version
    #[arg(long, value_name = "PATH")]
    kit: Option<PathBuf>,
}

impl New {
    /// Writes the service, and returns what to tell whoever asked for it.
    ///
    /// # Errors
    /// When the name can't be one, when the folder isn't empty, and when something can't be written.
    pub fn write(&self) -> anyhow::Result<String> {
        check_name(&self.name)?;
        let module = self.name.replace('-', "_");
        let namespace = match &self.namespace {
            Some(namespace) => {
                check_namespace(namespace)?;
                format!("{namespace}.{module}")
            }
            None => module.clone(),
        };
        let kit = Kit::find(self.kit.as_deref())?;
        let folder = self.path.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        if fs::read_dir(&folder).is_ok_and(|mut there| there.next().is_some()) {
            bail!("{} is not empty; name another folder, `farandole new {} PATH`", folder.display(), self.name);
        }
        let values = [
            ("name", self.name.clone()),
            ("crate", module),
            ("namespace", namespace),
            ("kit", kit.dependency("farandole")),
            ("build", kit.dependency("build")),
        ];
        for (name, text) in templates::filled(&values) {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
            }
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(self.next(&folder.display().to_string()))
    }

    fn next(&self, folder: &str) -> String {
        let mut next = format!("{} is written to {folder}. Next:\n  cd {folder}\n  cargo test\n", self.name);
        if self.kit.is_none() {
            next += "Farandole isn't in a package registry yet: until it is, use --kit with a checkout of it.\n";
        }
        next + "README.md says how to run it, and where to change what.\n"
    }
}
