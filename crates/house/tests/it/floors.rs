//! No two files of the workspace use each other in a circle, and the kit's floors use only what is below them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use house::House;

use crate::workspace;

/// The kit's floors, from the top; those from `publish` down are `farandole-outbox`. A folder uses only those in rows below its own;
/// `ARCHITECTURE.md` draws them.
const FLOORS: [&[&str]; 13] = [
    &["cli", "plans"],
    &["service"],
    &["config"],
    &["heal", "rebuild"],
    &["consume", "agenda"],
    &["fold"],
    &["engine"],
    &["parking"],
    &["participant"],
    &["publish"],
    &["wire"],
    &["database"],
    &["ground"],
];

/// The first files of all crates.
fn roots() -> Vec<PathBuf> {
    let folders = |folder: &str| std::fs::read_dir(workspace().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let crates = ["crates", "services", "examples"].into_iter().flat_map(folders).chain([workspace().join("schemas")]);
    let files = crates.flat_map(|folder| ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file)));
    files.filter(|file| file.exists()).collect()
}

fn floor(module: &str) -> usize {
    let folder = module.split("::").next().unwrap();
    FLOORS
        .iter()
        .position(|row| row.contains(&folder))
        .unwrap_or_else(|| panic!("{folder} is on no floor: give it one in FLOORS"))
}

/// What of `house` goes up, or across to another folder of its row: to what is defined there, or through what is re-exported there.
fn wrong(house: &House) -> Vec<String> {
    let of = |module: &str| (floor(module), module.split("::").next().unwrap().to_owned());
    let up = |from: &str, to: &str| of(from) != of(to) && floor(to) <= floor(from);
    let arrows = house.arrows().into_iter().filter(|a| !a.from.is_empty() && up(&a.from, &a.to)).map(|arrow| arrow.to_string());
    let folders: BTreeSet<&str> = house.modules().filter(|module| !module.is_empty() && !module.contains("::")).collect();
    let written = house.paths().into_iter().filter(|(from, path)| {
        !from.is_empty() && path.first().is_some_and(|folder| folders.contains(folder.as_str()) && up(from, folder))
    });
    arrows.chain(written.map(|(from, path)| format!("{from} writes {}", path.join("::")))).collect()
}

#[test]
fn no_two_files_use_each_other_in_a_circle() {
    let roots = roots();
    assert!(roots.len() > 15, "the crates weren't found: {roots:?}");
    let mut found = String::new();
    for root in roots {
        let house = House::read(&root).unwrap();
        for circle in house.circles() {
            let arrows = house.arrows().into_iter().filter(|a| circle.contains(&a.from) && circle.contains(&a.to));
            let arrows: Vec<String> = arrows.map(|arrow| arrow.to_string()).collect();
            found += &format!("in {}:\n  {}\n", root.display(), arrows.join("\n  "));
        }
    }
    assert_eq!(found, "", "circles");
}

#[test]
fn a_floor_uses_only_what_is_below() {
    for (name, arrows) in [("farandole", 300), ("outbox", 100)] {
        let house = House::read(&workspace().join("crates").join(name).join("src/lib.rs")).unwrap();
        assert!(house.arrows().len() > arrows, "the arrows of {name} weren't found");
        assert_eq!(wrong(&house), [""; 0], "these go up, or across a floor");
    }
}

/// A planted arrow of each kind is found, through re-exports and macros' arguments as well.
#[test]
fn what_goes_up_or_round_is_found() {
    /// What it is, its files, what goes up, how many circles.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str], usize);
    let cases: [Case<'_>; 8] = [
        ("down is right", &[("wire.rs", "pub struct W;"), ("engine.rs", "use crate::wire::W; fn f(_: W) {}")], &[], 0),
        (
            "a `use` that goes up",
            &[("wire.rs", "use crate::engine::E; fn f(_: E) {}"), ("engine.rs", "pub struct E;")],
            &["wire -> engine: E", "wire writes engine::E"],
            0,
        ),
        (
            "a path in a macro's argument",
            &[("wire.rs", "fn f() { println!(\"{}\", crate::engine::E); }"), ("engine.rs", "pub const E: u8 = 1;")],
            &["wire -> engine: E", "wire writes engine::E"],
            0,
        ),
        (
            "through a re-export above, to what is below",
            &[
                ("ground.rs", "pub struct G;"),
                ("wire.rs", "use crate::engine::G; fn f(_: G) {}"),
                ("engine.rs", "pub use crate::ground::G;"),
            ],
            &["wire writes engine::G"],
            0,
        ),
        (
            "through a re-export below",
            &[
                ("ground.rs", "pub use crate::engine::E;"),
                ("wire.rs", "use crate::ground; fn f(_: ground::E) {}"),
                ("engine.rs", "pub struct E;"),
            ],
            &["ground -> engine: E", "wire -> engine: E", "ground writes engine::E"],
            0,
        ),
        (
            "a circle between a file and the one it is in",
            &[
                ("wire.rs", "mod inner; pub struct W; fn f() { inner::g(); }"),
                ("wire/inner.rs", "use super::W; pub fn g() -> W { W }"),
            ],
            &[],
            1,
        ),
        (
            "names of other crates that begin with themselves",
            &[("wire.rs", "use anyhow::{anyhow}; use one::two; use two::one; fn f() { anyhow!(\"\"); one::g(); two::h(); }")],
            &[],
            0,
        ),
        (
            "across a floor",
            &[("agenda.rs", "fn f() { crate::consume::g(); }"), ("consume.rs", "pub fn g() {}")],
            &["agenda -> consume: g", "agenda writes consume::g"],
            0,
        ),
    ];
    for (what, files, up, circles) in cases {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("wire")).unwrap();
        let tops = files.iter().filter_map(|(name, _)| name.strip_suffix(".rs").filter(|name| !name.contains('/')));
        std::fs::write(dir.path().join("lib.rs"), tops.map(|top| format!("pub mod {top};\n")).collect::<String>()).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let house = House::read(&dir.path().join("lib.rs")).unwrap();
        assert_eq!(wrong(&house), up, "{what}");
        assert_eq!(house.circles().len(), circles, "{what}");
    }
}

/// The drawing in `ARCHITECTURE.md` has the same floors.
#[test]
fn the_floors_are_drawn() {
    let text = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let drawing = text.split("<!-- floors -->").nth(1).expect("ARCHITECTURE.md draws the floors between two marks");
    let rows = drawing.lines().filter_map(|line| line.split_once("  ")).map(|(names, _)| names.trim());
    let drawn: Vec<Vec<&str>> = rows.map(|names| names.split(' ').map(|name| name.trim_end_matches('/')).collect()).collect();
    let floors: Vec<Vec<&str>> = FLOORS.iter().map(|row| row.iter().copied().filter(|name| *name != "plans").collect()).collect();
    assert_eq!(drawn, floors);
}
