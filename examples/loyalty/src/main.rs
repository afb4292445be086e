//! The loyalty service.

fn main() -> std::process::ExitCode {
    farandole::main::<farandole::NoSettings, _, _>("loyalty", |_config, _settings| {
        Ok(farandole::Service::new(loyalty::Loyalty, loyalty::migrations()).routes(loyalty::routes))
    })
}
