//! W3C trace contexts.

use uuid::Uuid;

/// Whether `text` is a W3C trace context.
pub fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let (Some(version), Some(trace), Some(span), Some(flags)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    // Version 00 has exactly four parts; ff is none.
    let whole = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    // A later version may be longer, but not without end.
    let whole = whole && text.len() <= 128;
    whole && hex(trace, 32) && !zero(trace) && hex(span, 16) && !zero(span) && hex(flags, 2)
}

/// A new trace, with its first span.
pub fn new_traceparent() -> String {
    let (trace, span) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128() as u64); // a UUIDv4 has random bits at both ends
    format!("00-{trace:032x}-{:016x}-01", span | 1)
}
