//! Untrusted bytes as text: to be stored, compared and shown.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Bytes of a name; an index takes some 2,700, and a position holds as many sources as it may.
pub const NAME: usize = 512;

/// What bytes that are no text begin with.
const BINARY: &str = ":hex:";

/// Bytes that are written in full when they are no text.
const HEX: usize = 250;

/// Characters of a reason that are kept.
const REASON: usize = 1_000;

/// The name of an aggregate, a key, a source or an id: what rows and operators call it. Different bytes have different names, and
/// any bytes have one that a column and an index take: text as it is; what is none, is empty, or begins with `:`, as `:hex:` and its bytes;
/// what is too long as `:sha256:` and its digest. A record without a key parks as `:at:topic/partition/offset`.
///
/// With names that say less (a replacement character for what is no text), two keys would hold each other up, and two foreign
/// records would pass for one.
pub fn name(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if (1..=NAME).contains(&text.len()) && !text.starts_with(':') && !text.contains('\0') => Cow::Borrowed(text),
        _ if bytes.len() <= HEX => Cow::Owned(hex(BINARY, bytes)),
        _ => Cow::Owned(hex(":sha256:", &Sha256::digest(bytes))),
    }
}

/// The name of the record at a place, when it has no other.
pub fn name_of_place(place: impl std::fmt::Display) -> String {
    format!(":at:{place}")
}

/// `prefix` and the bytes in hexadecimal.
pub fn hex(prefix: &str, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(prefix.len() + 2 * bytes.len());
    text.push_str(prefix);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes all
    }
    text
}

/// A reason as it is stored: a few lines, since some libraries' errors quote all of what they couldn't read.
pub fn short(reason: &str) -> String {
    let mut text: String = reason.chars().take(REASON + 1).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
    if let Some((end, _)) = text.char_indices().nth(REASON) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The beginning of a stranger's text, for a message.
pub fn brief(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(100) {
        Some((end, _)) => Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len())),
        None => Cow::Borrowed(text),
    }
}

/// A stranger's text for somebody's eyes: characters that a terminal obeys, or that turn text around, are shown as what they are
/// (`\u{1b}`), so that nothing can be told by a key but the key.
pub fn shown(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if obeyed(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same of several lines, which stay lines.
pub fn shown_lines(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// Bytes as text that PostgreSQL takes: what is no UTF-8, or holds a NUL, or looks like what this makes, becomes `:hex:` and its
/// bytes. Different bytes are different texts, since records are told apart by headers. Every header of ours is text, so only a
/// stranger's record can change by it; and one that could not be stored could not be parked either.
pub fn storable(bytes: &[u8]) -> String {
    let mut text = String::new();
    storable_into(bytes, &mut text);
    text
}

/// The same in place of what `text` was.
pub fn storable_into(bytes: &[u8], text: &mut String) {
    text.clear();
    match std::str::from_utf8(bytes) {
        Ok(plain) if !plain.contains('\0') && !plain.starts_with(BINARY) => text.push_str(plain),
        _ => *text = hex(BINARY, bytes),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_are_text_stay_as_they_are() {
        for plain in ["order-1", "日本", "\u{fffd}", "a/b", "t/0/5", "sha256:ab"] {
            assert_eq!(name(plain.as_bytes()), plain);
        }
        for (bytes, expected) in
            [(&b""[..], ":hex:"), (&[0x81][..], ":hex:81"), (b"a\0", ":hex:6100"), (b":hex:81", ":hex:3a6865783a3831")]
        {
            assert_eq!(name(bytes), expected);
        }
        let (long, longer) = (name(&[0xff; 251]).into_owned(), name(&[b'x'; 513]).into_owned());
        assert!(long.starts_with(":sha256:") && longer.starts_with(":sha256:") && long != longer);
        assert_ne!(name(long.as_bytes()), long, "a key may look like a name");
        assert_eq!(name_of_place("t/0/5"), ":at:t/0/5");
    }

    /// L1. Guard: what a terminal obeys is escaped, and all else is as it is.
    #[test]
    fn nothing_that_is_shown_moves_a_terminal() {
        for plain in ["order-1", "", "日本 é", "\u{fffd}", r"a\n", "مرحبا"] {
            assert!(matches!(shown(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
        for (text, expected) in [
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\0\u{7f}\u{9b}", r"\u{0}\u{7f}\u{9b}"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}", r"\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown_lines("a\n\u{1b}b\n"), "a\n\\u{1b}b\n");
    }

    #[test]
    fn whatever_bytes_come_can_be_stored() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            (b"a\0b", ":hex:610062"),
            (b"\xff", ":hex:ff"),
            ("\u{fffd}".as_bytes(), "\u{fffd}"),
            (b":hex:ff", ":hex:3a6865783a6666"),
            (b"", ""),
        ] {
            assert_eq!(storable(bytes), text);
        }
    }

    /// Bytes that are likely to be taken for one another.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let parts: Vec<&'static [u8]> =
            vec![b":hex:", b":sha256:", b":at:", b"81", &[0x81], &[0], "\u{fffd}".as_bytes(), &[b'x'; 130]];
        let part = prop::sample::select(parts);
        prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn different_bytes_have_different_names(one in bytes(), other in bytes()) {
            prop_assert_eq!(one == other, name(&one) == name(&other));
            prop_assert!(name(&one).len() <= NAME && !name(&one).contains('\0') && !name(&one).starts_with(":at:"));
        }
    }
}
