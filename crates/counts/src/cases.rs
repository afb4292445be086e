//! What is counted. Each case prepares all that it takes beforehand, with a first run, in which what is done once is done.

mod codec;
mod decide;
mod intake;
mod relay;

/// What is done while it is counted.
pub type Work = Box<dyn FnOnce() -> anyhow::Result<()>>;

/// So many events, and what is done with them.
pub struct Case {
    pub events: u64,
    pub work: Work,
}

/// Events of a case that takes them one by one: enough that what happens every now and then (a buffer of random bytes is filled) is
/// spread evenly.
const EVENTS: u64 = 2_000;

/// Prepares the case of that name.
pub fn prepare(name: &str) -> anyhow::Result<Case> {
    match name {
        "encode" => codec::encode(),
        "relay" => relay::frame(),
        "decode" => codec::decode(),
        "decide" => decide::one(),
        "intake" => intake::batches(),
        _ => anyhow::bail!("there is no such case"),
    }
}
