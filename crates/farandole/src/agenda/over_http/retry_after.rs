//! `Retry-After`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderValue, header};

/// The wait that an answer's `Retry-After` asks for: seconds, or a date, which counts from the answer's own `Date` if it has one. The
/// longest when there are several. What is neither (negative, a fraction, a word) asks for nothing.
///
/// It is as long as the other side says; [`EffectError::Retry`](crate::agenda::EffectError) takes it so, and keeps to a bound.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |value: &HeaderValue| value.to_str().ok().map(|text| text.trim().to_owned());
    let now = headers.get(header::DATE).and_then(text).and_then(|date| http_date(&date));
    headers.get_all(header::RETRY_AFTER).iter().filter_map(text).filter_map(|text| wait(&text, now)).max()
}

fn wait(text: &str, now: Option<jiff::Timestamp>) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that make no u64 are too many.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = http_date(text)?.as_second();
    let now = now.map_or_else(wall_clock, jiff::Timestamp::as_second);
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0)))
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[expect(clippy::disallowed_methods, reason = "for how long to wait, when the other side doesn't tell its time")]
fn wall_clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn asked(values: &[&str], date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        }
        if let Some(date) = date {
            headers.insert(header::DATE, HeaderValue::from_str(date).unwrap());
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_that() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (values, wait) in [
            (&["7"][..], Some(7)),
            (&["0"], Some(0)),
            (&["9999999999999999999"], Some(9_999_999_999_999_999_999)),
            (&["99999999999999999999999999"], Some(u64::MAX)),
            (&["3", "120", "7"], Some(120)),
            (&["3", "soon"], Some(3)),
            (&["Sun, 06 Nov 1994 08:50:37 GMT"], Some(60)),
            (&["Sun, 06 Nov 1994 08:00:00 GMT"], Some(0)),
            (&["Fri, 31 Dec 9999 23:59:59 GMT"], None),
            (&["Tue, 31 Feb 1995 00:00:00 GMT"], None),
            (&["-1"], None),
            (&["+5"], None),
            (&["1.5"], None),
            (&["1e9"], None),
            (&["1, 2"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(asked(values, date), wait, "{values:?}");
        }
        assert!(asked(&["Thu, 01 Jan 2099 00:00:00 GMT"], None).unwrap() > 0, "by our own clock");
    }

    proptest! {
        #[test]
        fn any_retry_after_is_read_or_left(text in "[ -~]{0,40}", date in "[ -~]{0,40}") {
            let _ = asked(&[&text], Some(&date));
            let _ = asked(&[&text], None);
        }
    }
}
