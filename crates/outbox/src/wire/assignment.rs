//! What a member of a consumer group was assigned, as brokers tell it.

use std::collections::BTreeSet;

/// The partitions in a member's assignment, by Kafka's consumer protocol: a version, then topics with their partitions;
/// none if the bytes are something else.
pub fn assignment(bytes: &[u8]) -> Option<BTreeSet<(String, i32)>> {
    let mut all = BTreeSet::new();
    if bytes.is_empty() {
        return Some(all);
    }
    let mut rest = bytes.get(2..)?;
    for _ in 0..int(&mut rest)? {
        let length = i16::from_be_bytes(take(&mut rest)?);
        let (topic, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        let topic = std::str::from_utf8(topic).ok()?;
        for _ in 0..int(&mut rest)? {
            all.insert((topic.to_owned(), int(&mut rest)?));
        }
    }
    Some(all)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (some, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*some)
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    take(rest).map(i32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_damaged_ones_refused() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\x02bc\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";
        let read = assignment(bytes).unwrap();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("a".into(), 0), ("a".into(), 5), ("bc".into(), 7)]);
        assert_eq!(assignment(b""), Some(BTreeSet::new()), "a member that waits has none");
        for end in 1..bytes.len() - 4 {
            assert_eq!(assignment(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(assignment(b"\0\x01\x7f\xff\xff\xff"), None, "a count without its topics");
    }
}
