//! What is in a record: key, headers, value, chain; and the topics that hold records. No table is touched but the codec's memory.

pub mod assignment;
pub mod chain;
pub mod codec;
pub mod extent;
pub mod identity;
pub mod mapping;
pub mod message;
pub mod partitioner;
pub mod per_topic;
pub mod properties;
pub mod record;
pub mod settings;
pub mod topics;
pub mod traceparent;
#[cfg(test)]
pub mod vectors;
