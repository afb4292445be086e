//! The program: `{{name}} --help`.

use {{crate}}::Settings;

fn main() -> std::process::ExitCode {
    farandole::main(|_config, settings: Settings| Ok({{crate}}::service(&settings)))
}
