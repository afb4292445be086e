//! What the program allocates with, if the feature `jemalloc` is on.
//!
//! A relay that is behind hands librdkafka a record every five microseconds. Each of its headers is an allocation there, made by the
//! thread that reads the outbox and freed by the one that hears the broker, which glibc's `malloc` is slow at. With jemalloc, which
//! librdkafka then uses too, publishing a million rows took 4.5 s of CPU instead of 5.6. It keeps some more memory.
//!
//! A program has one allocator, so a library shouldn't choose: the feature is off by default.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
