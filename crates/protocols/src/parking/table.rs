//! The inputs, and rows of what is parked.

/// An input, by the names that it parks under.
pub struct Input {
    pub aggregate: &'static str,
    /// Its record's key.
    pub key: &'static str,
}

/// What comes: of two aggregates, each from two partitions, once under its own key and once under one that they share.
pub const INPUTS: [Input; 4] = [
    Input { aggregate: "a", key: "a" },
    Input { aggregate: "a", key: "k" },
    Input { aggregate: "b", key: "b" },
    Input { aggregate: "b", key: "k" },
];
/// By partition, in order: what has one key is in one.
pub const PARTITIONS: [&[usize]; 2] = [&[0, 2], &[1, 3]];
/// Which inputs can't be processed at first, in each world.
pub const FAULTY: [&[usize]; 5] = [&[0], &[1], &[0, 1], &[1, 2], &[1, 3]];

/// The names of an input.
pub fn names(input: usize) -> [&'static str; 2] {
    [INPUTS[input].aggregate, INPUTS[input].key]
}

/// Whether two have a name in common.
pub fn shared(one: usize, other: usize) -> bool {
    names(one).iter().any(|name| names(other).contains(name))
}

/// A row of `farandole.parked`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    pub seq: i64,
    pub input: usize,
    pub head: bool,
}

impl Row {
    /// Its names, as the kit reads them.
    pub fn names(&self, second: bool) -> Vec<String> {
        let [aggregate, key] = names(self.input);
        let also = Some(key).filter(|key| second && *key != aggregate);
        std::iter::once(aggregate).chain(also).map(str::to_owned).collect()
    }
}
