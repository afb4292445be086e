//! Apicurio Registry with its storage in memory; Confluent's API is under `/apis/ccompat/v7`.
//!
//! A restart loses the schemas. That is a case worth testing: who has seen an id keeps it, and registering again is harmless.

use std::path::Path;

use crate::error::{At, Error};
use crate::folder::Run;
use crate::kafka::{QUICK_START, find_java, java_options};
use crate::part::{Part, get};
use crate::process::Command;

/// Below the address of the registry.
pub(crate) const API: &str = "/apis/ccompat/v7";

pub(crate) fn part(run: &Run, jars: &Path, port: u16) -> Result<Part, Error> {
    let folder = run.part("registry")?;
    let entries = std::fs::read_dir(jars).at("reading", jars)?.flatten().map(|entry| entry.path());
    let jar = entries.into_iter().find(|path| path.to_string_lossy().ends_with("-runner.jar"));
    let jar = jar.ok_or(std::io::ErrorKind::NotFound.into()).at("looking for the registry's jar in", jars)?;
    let command = Command::new("registry", find_java()?)
        .folder(&folder)
        .log(run.logs.join("registry.log"))
        .args(java_options(&folder, "256m"))
        .args(QUICK_START)
        .args(["-Dquarkus.http.host=127.0.0.1".into(), format!("-Dquarkus.http.port={port}")])
        .args(["-Dquarkus.log.file.enable=false", "-jar"])
        .args([jar]);
    let ask = Box::new(move || get(port, &format!("{API}/subjects")));
    Ok(Part::new("registry", command, ask))
}
