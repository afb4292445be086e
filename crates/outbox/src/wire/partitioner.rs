//! Which partition a key belongs to, as Kafka's Java client decides it.
//!
//! librdkafka's own default (CRC32) would put a key elsewhere than a Java producer does, and two producers that disagree tear
//! a key's events apart. So the kit computes the partition itself and never asks the client library for one. An empty key is
//! hashed by the Java client and none at all for librdkafka; the outbox refuses it.

/// MurmurHash2, 32 bits, with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // The Java client hashes the length as an int; a key longer than 2^31 bytes doesn't exist.
    let mut h = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * at);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^= h >> 15;
    h.cast_signed()
}

/// The partition of `key` in a topic of `count` partitions: `toPositive(murmur2(key)) % count`. `count` is at least 1.
pub fn partition(key: &[u8], count: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn hashes_as_the_java_client_does() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    /// F38: keys of every length up to 40, longer ones, and text beyond ASCII, as `Golden.java` beside the file asked the
    /// client itself (4.3.1).
    #[test]
    fn keys_go_where_the_java_client_sends_them() {
        let lines: Vec<&str> = include_str!("partitioner/golden.tsv").lines().skip(1).collect();
        assert_eq!(lines.len(), 100);
        for line in lines {
            let (key, rest) = line.split_once('\t').unwrap();
            let key: Vec<u8> = (0..key.len()).step_by(2).map(|i| u8::from_str_radix(&key[i..i + 2], 16).unwrap()).collect();
            let expected: Vec<i32> = rest.split('\t').map(|n| n.parse().unwrap()).collect();
            let partitions = [1, 3, 12, 50, 1000].map(|count| partition(&key, count));
            assert_eq!([&[murmur2(&key)], &partitions[..]].concat(), expected, "{key:x?}");
        }
    }

    #[test]
    fn a_negative_hash_has_a_partition() {
        assert_eq!(partition(b"21", 12), (-973_932_308_i32 & 0x7fff_ffff) % 12);
        for count in 1..50 {
            let partition = partition(b"foobar", count);
            assert!((0..count).contains(&partition));
        }
    }
}
