//! What is in a record: key, headers, value, chain; and the topics that hold records. No table is touched but the codec's memory.

pub mod chain;
pub mod codec;
pub mod extent;
pub mod mapping;
pub mod message;
pub mod partitioner;
pub mod per_topic;
pub(crate) mod properties;
pub mod record;
pub mod settings;
pub mod topics;
pub(crate) mod traceparent;
