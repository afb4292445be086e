//! What is counted. Each case prepares all that it takes beforehand, with a first run, in which what is done once is done.

mod codec;
mod decide;
mod intake;
mod relay;

use crate::case::Case;

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
