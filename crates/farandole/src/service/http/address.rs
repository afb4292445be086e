//! Validates URLs: only text that the database can store.
//!
//! Routes hand what stands in a path or query to the database, which takes no NUL, and no text that isn't UTF-8. Told here, it is the
//! caller's fault and names the place; told by the database, it would look like trouble of ours.

use axum::http::Uri;

use crate::participant::problem::{FieldError, Problem};

/// Bytes of a path with its query: what proxies take.
const LONGEST: usize = 8 * 1024;

/// Refuses an address with something in it that no database takes.
pub(super) fn check(uri: &Uri) -> Result<(), Problem> {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    if path.len() + query.len() > LONGEST {
        return Err(Problem::new(414, "uri-too-long", format!("a URL has at most {LONGEST} bytes")));
    }
    let segments = (1..).zip(path.split('/').skip(1)).map(|(n, text)| (format!("(part {n} of the path)"), text));
    let pairs = query.split('&').flat_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        [("(a name in the query)".to_owned(), name), (name.chars().take(100).collect(), value)]
    });
    let wrong = |(field, text): (String, &str)| Some(FieldError { field, reason: fault(text)?.to_owned() });
    let errors: Vec<FieldError> = segments.chain(pairs).filter_map(wrong).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let mut problem = Problem::new(400, "invalid-address", "the URL contains invalid characters; see errors");
    problem.errors = errors;
    Err(problem)
}

/// What is wrong with a percent-encoded text.
fn fault(text: &str) -> Option<&'static str> {
    if !text.contains('%') {
        return None;
    }
    match String::from_utf8(decoded(text)) {
        Err(_) => Some("its percent-encoding is not UTF-8"),
        Ok(text) if text.contains('\0') => Some("it holds a NUL character"),
        Ok(_) => None,
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            // Two digits of 16 make a byte.
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_names_what_is_wrong_in_it() {
        for (uri, fields) in [
            ("/stock/a", &[][..]),
            ("/stock/a%20b?after=%C3%BC&limit=3", &[]),
            ("/stock/100%25?x=%", &[]),
            ("/stock/a%00b", &["(part 2 of the path)"]),
            ("/stock?after=a%00b&limit=3", &["after"]),
            ("/stock?a%00b=1", &["(a name in the query)"]),
            ("/stock/%ff?after=%C3", &["(part 2 of the path)", "after"]),
        ] {
            let problem = check(&uri.parse().unwrap()).err();
            let named = problem.iter().flat_map(|p| &p.errors).map(|e| e.field.as_str()).collect::<Vec<_>>();
            assert_eq!(named, fields, "{uri}");
        }
        let long: Uri = format!("/{}", "a".repeat(LONGEST)).parse().unwrap();
        assert_eq!(check(&long).unwrap_err().status, 414);
    }

    proptest! {
        #[test]
        fn what_passes_is_text_without_nul(text in "(%[0-9a-fA-F]{2}|[a-z%]){0,30}") {
            let decoded = decoded(&text);
            let right = String::from_utf8(decoded).is_ok_and(|text| !text.contains('\0'));
            prop_assert_eq!(fault(&text).is_none(), right);
        }
    }
}
