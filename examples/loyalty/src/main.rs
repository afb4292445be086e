//! The loyalty service.

fn main() -> std::process::ExitCode {
    farandole::main::<farandole::NoSettings, _, _>("loyalty", |_config, _settings| {
        Ok(farandole::Service::new(loyalty::Loyalty, sqlx::migrate!()).routes(loyalty::routes))
    })
}
