//! What an article's number may be: the same wherever one comes in, so that what one service takes no other refuses.

/// Characters at most.
pub const LONGEST: usize = 64;

/// What is asked of one, in words.
pub const RULE: &str =
    "1 to 64 characters that show (no control or invisible character, no blank at either end), letters with their accents in one";

/// Whether `text` can be an article's number. Two numbers that look alike must be alike, or stock is received under one and asked for
/// under the other: so nothing that doesn't show is in it, and accents are composed (NFC), not marks of their own (NFD). It is
/// refused rather than changed: whoever wrote it has it in that form elsewhere, too.
pub fn is_one(text: &str) -> bool {
    let length = text.chars().count();
    (1..=LONGEST).contains(&length) && text.trim() == text && !text.chars().any(|c| c.is_control() || is_hidden(c) || is_part(c))
}

/// Characters that show nothing: soft hyphen, joiners and marks of direction, variation selectors, byte-order mark, tags.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

/// Marks and letters that composition (NFC) puts together with what is before them, or replaces.
fn is_part(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1100}'..='\u{11ff}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{212a}' | '\u{212b}' | '\u{2126}' | '\u{3099}' | '\u{309a}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_look_alike_are_alike() {
        for text in ["85123A", "DCGS0076", "gift_0001_20", "tea", "a b", "caf\u{e9}", "\u{8336}", "\u{d55c}", "x"] {
            assert!(is_one(text), "{text}");
        }
        for text in [
            "",
            " tea",
            "tea ",
            "te\u{200b}a",
            "cafe\u{301}",
            "a\0b",
            "a\nb",
            "\u{feff}tea",
            "\u{1112}\u{1161}",
            "\u{212a}",
            "a\u{a0}",
        ] {
            assert!(!is_one(text), "{text:?}");
        }
        assert!(is_one(&"x".repeat(LONGEST)) && !is_one(&"x".repeat(LONGEST + 1)));
    }
}
