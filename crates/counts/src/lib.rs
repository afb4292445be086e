//! What an event costs in instructions and allocations, where times move by a quarter from day to day: counted by callgrind, written
//! down, and compared. The program beside this counts; here is what is done with the counts.

pub mod benchmarks;
pub mod callgrind;
pub mod changelog;
pub mod compare;
pub mod figures;
pub mod record;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::record::Record;
    use crate::{benchmarks, changelog};

    /// Without counting anew: what is written down is written in all three places.
    #[test]
    fn the_record_agrees_with_the_changelog_and_the_benchmarks() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| std::fs::read_to_string(here.join("../..").join(name)).unwrap();
        let record = Record::read(&here.join("counts.toml")).unwrap().unwrap();
        assert_eq!(changelog::check(&read("CHANGELOG.md"), &record), [""; 0]);
        let text = read("BENCHMARKS.md");
        assert_eq!(benchmarks::with(&text, &record).unwrap(), text);
    }
}
