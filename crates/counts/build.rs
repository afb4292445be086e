//! Leads calls of the allocator through `src/allocations.rs`, and notes what builds this: counts of another compiler are others.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["malloc", "calloc", "realloc", "mallocx", "rallocx"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={name}");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = Command::new(rustc).arg("-vV").output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    let of = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").to_owned();
    println!("cargo::rustc-env=COUNTS_RUSTC={} {}", of("release: "), of("host: "));
}
