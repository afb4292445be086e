//! The codec alone.

use std::hint::black_box;

use anyhow::ensure;
use farandole::{Codec, Message as _};
use uuid::Uuid;

use crate::events::{Event, order};
use crate::machine::{Usage, own_usage, thread_nanos};
use crate::report::{Figure, Side};

/// Values a run: some tenths of a second.
const VALUES: u32 = 300_000;
/// Nanoseconds, each way.
const LIMIT: f64 = 700.0;

/// Nanoseconds to encode and to decode an order of three lines, with its framing. Of CPU time: nothing is waited for, so that is what
/// it takes on a machine with nothing else to do.
pub fn measure(runs: u16) -> anyhow::Result<[Figure; 2]> {
    let codec = Codec::offline(Event::TYPES);
    let event = Event::from(order(Uuid::now_v7(), "17850".to_owned()));
    let bytes = event.encode(&codec)?;
    ensure!(Event::decode(0, &codec, &bytes)? == event, "what was encoded doesn't read back");
    let (mut encode, mut decode) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (began, cpu) = (thread_nanos()?, own_usage()?);
        for _ in 0..VALUES {
            black_box(black_box(&event).encode(&codec)?);
        }
        encode.push((side(began, cpu)?, None));
        let (began, cpu) = (thread_nanos()?, own_usage()?);
        for _ in 0..VALUES {
            black_box(Event::decode(0, &codec, black_box(&bytes))?);
        }
        decode.push((side(began, cpu)?, None));
    }
    let figure = |measure, runs| Figure { runs, ..Figure::new(measure, "ns", "").limit(LIMIT) };
    Ok([figure("codec encode", encode), figure("codec decode", decode)])
}

fn side(began: u64, before: Usage) -> anyhow::Result<Side> {
    Ok(Side::new((thread_nanos()? - began) as f64 / f64::from(VALUES), before, own_usage()?))
}
