//! Errors in words.

/// An error and its causes in one line.
pub fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // Some, as sqlx's, repeat their cause in their own words.
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cause_says_is_said_once() {
        let refused = sqlx::Error::Io(std::io::Error::other("refused"));
        assert_eq!(refused.to_string(), "error communicating with database: refused");
        assert_eq!(chain_of(&refused), refused.to_string());
    }
}
