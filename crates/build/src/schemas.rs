//! A folder of schemas, and what is to be made of it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::error::Error;
use crate::files::{File, read, same, shown};
use crate::generate::{Source, generate, namesakes, tests};
use crate::released::Released;
use crate::rules::Rules;
use crate::topics::Topics;

/// A folder of Avro schemas, `.avsc` files in it and in folders below, and what is to be made of it. For a build script:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     farandole_build::Schemas::in_folder("schemas")
///         .released("schemas/released")             // compare with what others may hold
///         .topic("com.acme.billing", "billing.v1")  // not what its folder is called
///         .generate()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Schemas {
    folder: PathBuf,
    released: Option<PathBuf>,
    topics: Topics,
    rules: Rules,
    wire_tests: bool,
    output: String,
}

/// One event: a file whose schema is a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The record's full name.
    pub name: String,
    /// The topic that it is published to; none if nothing says which.
    pub topic: Option<String>,
    /// The schema's text.
    pub schema: String,
    /// The file, as messages name it.
    pub file: String,
}

/// What was compared and found compatible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Schemas in the folder.
    pub schemas: usize,
    /// Released versions of them.
    pub versions: usize,
}

/// A release that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Noted {
    /// The schema's file.
    pub file: String,
    /// Its copy.
    pub copy: PathBuf,
    /// Which version of it that is, from 1.
    pub version: u32,
}

impl Schemas {
    /// The schemas in `folder`, which is relative to the package in a build script. Hidden folders and `target` are skipped.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            released: None,
            topics: Topics::default(),
            rules: Rules::none(),
            wire_tests: false,
            output: "events.rs".to_owned(),
        }
    }

    /// Compares every schema with its released versions, `<folder>/orders/OrderPlaced/1.avsc` and so on for `orders/OrderPlaced.avsc`:
    /// all of them must read, and be read by, the current one. [`Schemas::release`] writes them.
    #[must_use]
    pub fn released(self, folder: impl Into<PathBuf>) -> Self {
        Self { released: Some(folder.into()), ..self }
    }

    /// Events of `of` are on `topic`. `of` is a record's full name, a file (`orders/OrderPlaced.avsc`), a folder (`orders`) or a namespace
    /// with those below it (`com.acme.orders`); of several that fit, the first of these counts. Without it, the topic is called as the
    /// folder that holds the file, with dots between folders in folders.
    #[must_use]
    pub fn topic(mut self, of: impl Into<String>, topic: impl Into<String>) -> Self {
        self.topics.said.insert(of.into(), topic.into());
        self
    }

    /// The topic of events in no folder of their own.
    #[must_use]
    pub fn default_topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.otherwise = Some(topic.into());
        self
    }

    /// What is asked of the schemas beyond what Avro does. By default nothing.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Generates a test of each event too, which run with the crate's own: that its values are the bytes that Avro says, that every
    /// released version of it is read and reads it, and that bytes that are no event end in an error. They need, in `Cargo.toml`:
    ///
    /// ```toml
    /// [dev-dependencies]
    /// farandole-build = { path = "../farandole/crates/build", features = ["testing"] }
    /// ```
    #[must_use]
    pub fn wire_tests(self) -> Self {
        Self { wire_tests: true, ..self }
    }

    /// What the file with the code is called, in place of `events.rs`; for build scripts with several folders. Schemas of events that you
    /// subscribe to, for example, are their owners': they are kept apart, and not compared with your releases.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    ///
    /// use farandole_build::Schemas;
    ///
    /// fn main() -> ExitCode {
    ///     let own = Schemas::in_folder("schemas").released("schemas/released").generate();
    ///     let heard = Schemas::in_folder("heard").output("heard.rs").generate();
    ///     if own == ExitCode::SUCCESS { heard } else { own }
    /// }
    /// ```
    #[must_use]
    pub fn output(self, name: impl Into<String>) -> Self {
        Self { output: name.into(), ..self }
    }

    /// Writes the code to `$OUT_DIR/events.rs` and tells Cargo when to do so again; for build scripts. Problems are
    /// printed as errors of the build, and the exit code then is a failure.
    ///
    /// ```no_run
    /// fn main() -> std::process::ExitCode {
    ///     farandole_build::Schemas::in_folder("schemas").generate()
    /// }
    /// ```
    #[must_use = "return it from `main`, or a build with a broken schema goes on"]
    pub fn generate(&self) -> ExitCode {
        self.print_rerun();
        match self.write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                error.problems().iter().for_each(|problem| println!("cargo::error={}", problem.replace('\n', " ")));
                ExitCode::FAILURE
            }
        }
    }

    /// The code that [`Schemas::generate`] writes.
    ///
    /// # Errors
    /// All that is wrong with the schemas.
    pub fn code(&self) -> Result<String, Error> {
        let files = self.read()?;
        let released = self.read_released()?;
        let mut problems = self.topics.idle(&files);
        let mut sources = Vec::new();
        for file in &files {
            let topic = match file.schema.record().map(|_| self.topics.of(file)).transpose() {
                Ok(topic) => topic,
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            };
            problems.extend(self.rules.broken(file, topic.as_deref()));
            sources.push(Source { file, topic });
        }
        problems.extend(released.problems(&files));
        let generated = generate(&sources).map_err(|more| problems.extend(more));
        let Ok(mut generated) = generated else { return Err(Error::new(problems)) };
        Error::unless_empty(problems)?;
        if self.wire_tests {
            let tested = generated.events.into_iter().map(|(rust, stem)| tests::Tested {
                rust,
                released: released.of(&stem).map(|version| (version.file.clone(), version.text.clone())).collect(),
            });
            let folder = self.released.as_ref().map(|released| released.to_string_lossy().into_owned());
            let tested: Vec<tests::Tested> = tested.collect();
            generated.code.push_str(&tests::module(&tested, &self.folder.to_string_lossy(), folder.as_deref()));
        }
        Ok(generated.code)
    }

    /// The events, by their files.
    ///
    /// # Errors
    /// What can't be read.
    pub fn events(&self) -> Result<Vec<Event>, Error> {
        let files = self.read()?;
        let events = files.iter().filter_map(|file| {
            let name = file.schema.record()?.0.name.full();
            Some(Event { name, topic: self.topics.of(file).ok(), schema: file.text.clone(), file: file.shown.clone() })
        });
        Ok(events.collect())
    }

    /// Compares the schemas with their released versions, and sees whether each that has changed is noted there.
    ///
    /// # Errors
    /// All that is wrong, what isn't noted included.
    pub fn check(&self) -> Result<Checked, Error> {
        let (files, released) = (self.read()?, self.read_released()?);
        let mut problems = problems(&files, &released);
        if self.released.is_some() {
            // What can't be released isn't to be noted either.
            let mut pending = released.pending(&files);
            pending.retain(|new| !problems.iter().any(|why| why.starts_with(&*new.file)));
            problems.extend(pending.into_iter().map(|pending| match pending.version {
                1 => format!("{} isn't released yet; note it with `farandole schemas release`", pending.file),
                version => format!(
                    "{} has changed since version {}; note it with `farandole schemas release` before an event is published with it",
                    pending.file,
                    version - 1
                ),
            }));
        }
        Error::unless_empty(problems)?;
        let versions = files.iter().map(|file| released.of(&file.stem()).count()).sum();
        Ok(Checked { schemas: files.len(), versions })
    }

    /// Notes every schema that has changed as its next released version, in the folder given by [`Schemas::released`].
    ///
    /// # Errors
    /// All that is wrong: then nothing is noted. Also when a file can't be written.
    pub fn release(&self) -> Result<Vec<Noted>, Error> {
        if self.released.is_none() {
            return Err(Error::one("no folder for released versions is named; say .released(\"schemas/released\")"));
        }
        let (files, released) = (self.read()?, self.read_released()?);
        Error::unless_empty(problems(&files, &released))?;
        let mut noted = Vec::new();
        for pending in released.pending(&files) {
            pending.note()?;
            noted.push(Noted { file: pending.file, copy: PathBuf::from(shown(&pending.to)), version: pending.version });
        }
        Ok(noted)
    }

    fn read(&self) -> Result<Vec<File>, Error> {
        read(&self.folder, self.released.as_deref())
    }

    fn read_released(&self) -> Result<Released, Error> {
        self.released.as_deref().map_or_else(|| Ok(Released::default()), Released::read)
    }

    fn write(&self) -> Result<(), Error> {
        let code = self.code()?;
        let out = env::var_os("OUT_DIR").ok_or_else(|| Error::one("OUT_DIR isn't set; call this from a build script"))?;
        let path = Path::new(&out).join(&self.output);
        fs::write(&path, code).map_err(|e| Error::one(format!("{}: can't be written: {e}", shown(&path))))
    }

    /// Cargo looks through a folder for changes, new files included. Of the whole package it does so by itself when nothing is said, and
    /// leaves out `target` then.
    fn print_rerun(&self) {
        if same(&self.folder, Path::new(".")) {
            return;
        }
        println!("cargo::rerun-if-changed=build.rs");
        let apart = self.released.as_ref().filter(|released| !released.starts_with(&self.folder));
        for folder in [Some(&self.folder), apart].into_iter().flatten() {
            println!("cargo::rerun-if-changed={}", folder.display());
        }
    }
}

/// What keeps `files` from being released.
fn problems(files: &[File], released: &Released) -> Vec<String> {
    let mut problems = released.problems(files);
    problems.extend(namesakes(files));
    problems
}
