fn main() -> std::process::ExitCode {
    farandole_build::Schemas::in_folder("schemas").wire_tests().generate()
}
