//! Inputs of which the topic holds some events only.

use std::collections::BTreeMap;

use crate::wire::chain::Link;

/// Inputs whose events aren't all there yet. The events of one input follow one another for their key, so a key has one at most.
#[derive(Debug, Default)]
pub(super) struct Open(BTreeMap<Vec<u8>, String>);

impl Open {
    /// Takes an event of `key`.
    pub fn next(&mut self, key: Option<&[u8]>, link: &Link) {
        let (key, (i, n)) = (key.unwrap_or_default(), link.of);
        if i < n {
            let text = format!("{} of {n} event(s) of {} for {}", i, link.cause, String::from_utf8_lossy(key));
            self.0.insert(key.to_vec(), text);
        } else {
            self.0.remove(key);
        }
    }

    /// Whether every input so far is whole.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that aren't.
    pub fn into_texts(self) -> impl Iterator<Item = String> {
        self.0.into_values()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_input_is_open_until_its_last_event() {
        let link = |text: &str| Link::parse(&format!("l=1;n=1;p=-;c=x/0/7;k={};i={text}", Uuid::nil())).unwrap();
        let mut open = Open::default();
        open.next(Some(b"a"), &link("1/3"));
        // Another key's lie in between.
        open.next(Some(b"b"), &link("1/1"));
        open.next(Some(b"a"), &link("2/3"));
        assert!(!open.is_empty());
        open.next(Some(b"a"), &link("3/3"));
        assert!(open.is_empty());
        open.next(Some(b"c"), &link("1/2"));
        assert_eq!(open.into_texts().collect::<Vec<_>>(), ["1 of 2 event(s) of x/0/7 for c"]);
    }
}
