//! W3C trace contexts.

use uuid::Uuid;

/// Whether `text` is a W3C trace context: `version-trace-span-flags`, of 2, 32, 16 and 2 hexadecimal digits. Each event passes by here, so
/// it looks at places instead of searching for what separates them.
pub fn is_traceparent(text: &str) -> bool {
    // A later version may be longer, but not without end.
    let (Some((head, rest)), true) = (text.as_bytes().split_first_chunk::<55>(), text.len() <= 128) else { return false };
    // Without an end before the last digit, it is a loop that the compiler makes a few wide steps of.
    let hex = |part: &[u8]| part.iter().fold(true, |all, b| all & matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().fold(true, |all, b| all & (*b == b'0'));
    let (version, trace, span, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
    // Version 00 has exactly four parts; ff is none.
    let whole = version != b"ff" && (rest.is_empty() || version != b"00" && rest[0] == b'-');
    let parted = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
    whole && parted && hex(version) && hex(trace) && !zero(trace) && hex(span) && !zero(span) && hex(flags)
}

/// A new trace, with its first span.
pub fn new_traceparent() -> String {
    let (trace, span) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128() as u64); // a UUIDv4 has random bits at both ends
    format!("00-{trace:032x}-{:016x}-01", span | 1)
}

#[cfg(test)]
mod tests {
    use super::{is_traceparent, new_traceparent};

    #[test]
    fn a_trace_context_is_known_by_its_places() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let good = [format!("00-{trace}-{span}-01"), format!("cc-{trace}-{span}-01-what-comes"), format!("01-{trace}-{span}-00")];
        for text in good.iter().chain([&new_traceparent()]) {
            assert!(is_traceparent(text), "{text}");
        }
        let zeros = |n| "0".repeat(n);
        let bad = [
            String::new(),
            format!("00-{trace}-{span}-0"),
            format!("00-{trace}-{span}-01-more"),
            format!("01-{trace}-{span}-01more"),
            format!("01-{trace}-{span}-01-{}", zeros(73)),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", zeros(32)),
            format!("00-{trace}-{}-01", zeros(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}-g1"),
            format!("00_{trace}-{span}-01"),
            format!("00-{trace}_{span}-01"),
            format!("00-{trace}-{span}_01"),
            format!("00-{}é-{span}-01", &trace[..30]),
        ];
        for text in bad {
            assert!(!is_traceparent(&text), "{text}");
        }
    }
}
