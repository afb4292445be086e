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
    without_line(text)
}

/// A database's error as sqlx prints it ends with the line of PostgreSQL's own source that raised it, which readers look for in theirs.
fn without_line(mut text: String) -> String {
    let digits = text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if digits > 0 && text[..text.len() - digits].ends_with(" at line ") && text.contains("error returned from database") {
        text.truncate(text.len() - digits - " at line ".len());
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

    #[test]
    fn a_line_of_postgresqls_source_is_left_out() {
        let of = |text: &str| without_line(text.to_owned());
        let error = "storing rows: error returned from database: relation \"x\" does not exist";
        assert_eq!(of(&format!("{error} at line 1392")), error);
        for other in ["reading billing.toml: unknown field at line 7", "12", ""] {
            assert_eq!(of(other), other);
        }
    }
}
