//! The dunning service.
fn main() -> std::process::ExitCode {
    farandole::main(|_, _: farandole::NoSettings| Ok(acme::dunning::service()))
}
