//! Which services of the shop take part.

use anyhow::ensure;
use demo::shop::{CORE, SERVICES};

/// What is said where there is no mail catcher.
pub(crate) const WITHOUT_MAIL: &str = "there is no mail catcher (scripts/install --mail): notifications and mails take no part";

/// All services; without a mail catcher those without which no order ends, which is said to stderr.
///
/// # Errors
/// When there is no mail catcher, and `NEED_MAIL` is set.
pub fn services() -> anyhow::Result<&'static [&'static str]> {
    if stage::mail::is_built(&stage::Options::default().dir) {
        return Ok(&SERVICES);
    }
    ensure!(std::env::var_os("NEED_MAIL").is_none(), "there is no mail catcher: scripts/install --mail");
    eprintln!("faults: {WITHOUT_MAIL}");
    Ok(&CORE)
}
