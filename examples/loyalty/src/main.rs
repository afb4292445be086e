//! The loyalty service.
fn main() -> std::process::ExitCode {
    farandole::main(|_, _: farandole::NoSettings| Ok(loyalty::service()))
}
