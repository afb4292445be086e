//! What an event costs.

use serde::{Deserialize, Serialize};

/// What is counted, and what one event is there; in the order of an event's way.
pub const CASES: [(&str, &str); 5] = [
    ("encode", "an `OrderPlaced` of three lines becomes a row for the outbox: Avro, schema id, the row's columns"),
    ("relay", "that row becomes a Kafka record: partition, number, link, nine headers"),
    ("decode", "that record becomes an input: headers and chain link read, Avro read"),
    ("decide", "orders decides one `PaymentAuthorised`: `decide`, `evolve`, `follow_up`"),
    ("intake", "one of a batch of 256 `PaymentAuthorised`: chain, decode, keys, decide, and the statements' arrays"),
];

/// What moves a figure by less than this isn't told from chance: which function a compiler inlines, seeds of hash maps.
pub const TOLERANCE: f64 = 0.03;

/// The costs of one event.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Instructions.
    pub instructions: u64,
    /// Calls of the allocator that give memory, in hundredths of one: a batch's own are shared by its events.
    pub allocations: f64,
    /// Bytes that were asked for.
    pub bytes: u64,
}

impl Figures {
    /// Of one of `events` that cost so much together.
    pub fn of(events: u64, instructions: u64, allocations: u64, bytes: u64) -> Self {
        let each = |all: u64| (all + events / 2) / events.max(1);
        Self { instructions: each(instructions), allocations: each(allocations * 100) as f64 / 100.0, bytes: each(bytes) }
    }

    /// The three, with what they are called.
    pub fn named(&self) -> [(&'static str, f64); 3] {
        [("instructions", self.instructions as f64), ("allocations", self.allocations), ("bytes", self.bytes as f64)]
    }

    /// These, but what `now` has moved by no more than the tolerance stays: what is written down moves only with a reason.
    #[must_use]
    pub fn moved(&self, now: &Self) -> Self {
        Self {
            instructions: if is_moved(self.instructions as f64, now.instructions as f64) {
                now.instructions
            } else {
                self.instructions
            },
            allocations: if is_moved(self.allocations, now.allocations) { now.allocations } else { self.allocations },
            bytes: if is_moved(self.bytes as f64, now.bytes as f64) { now.bytes } else { self.bytes },
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (instructions, bytes) = (thousands(self.instructions), thousands(self.bytes));
        write!(f, "{instructions} instructions, {} allocations, {bytes} bytes", self.allocations)
    }
}

/// Whether it has grown by more than the tolerance.
pub fn is_grown(before: f64, now: f64) -> bool {
    now > before * (1.0 + TOLERANCE)
}

/// Whether it has shrunk by more than the tolerance.
pub fn is_shrunk(before: f64, now: f64) -> bool {
    now < before * (1.0 - TOLERANCE)
}

fn is_moved(before: f64, now: f64) -> bool {
    is_grown(before, now) || is_shrunk(before, now)
}

/// `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_events_one_has_its_share() {
        let one = Figures::of(256, 256_100, 640, 1_000);
        assert_eq!(one, Figures { instructions: 1_000, allocations: 2.5, bytes: 4 });
        assert_eq!(one.to_string(), "1,000 instructions, 2.5 allocations, 4 bytes");
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    /// Guard: small moves aren't written. Without it figures creep up, three in a hundred at a time.
    #[test]
    fn what_moves_little_stays_as_it_was_written() {
        let before = Figures { instructions: 1_000, allocations: 10.0, bytes: 500 };
        let now = Figures { instructions: 1_030, allocations: 11.0, bytes: 400 };
        assert_eq!(before.moved(&now), Figures { instructions: 1_000, allocations: 11.0, bytes: 400 });
    }
}
