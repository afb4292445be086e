//! The metrics of the intake and of what is parked.

crate::ground::metric::declare! {
    /// Partitions of a subscribed topic that this replica reads; every 5 s.
    PARTITIONS: Gauge "farandole_intake_partitions" "partitions" ["topic"];
    /// Records of this replica's partitions that aren't applied yet; every 5 s. `NaN` while unknown: the topic doesn't exist, one
    /// of its partitions has no reader, or the consumer group isn't joined.
    LAG_RECORDS: Gauge "farandole_intake_lag_records" "records" ["topic"];
    /// Age of the last applied record, in the partition that is furthest behind; 0 when nothing is pending, `NaN` while unknown;
    /// every 5 s.
    LAG_SECONDS: Gauge "farandole_intake_lag_seconds" "seconds" ["topic"];
    /// Kafka clients replaced because they delivered nothing for a minute although there was more. Anything above 0 is a bug in
    /// the kit or the client library.
    WATCHDOG: Counter "farandole_intake_watchdog_total" "times" [];
    /// Partitions restarted from their position: `fenced` (another owner, or the position was set by hand), `panic`, or `stopped`
    /// (the client could not continue from there).
    RESTARTS: Counter "farandole_intake_restarts_total" "times" ["why"];
    /// Records skipped because of `intake.unknown = "ignore"`; beyond 100 types, the rest count as `other`.
    IGNORED: Counter "farandole_intake_ignored_total" "records" ["topic", "type"];
    /// Offsets that had expired before they were read, and that were passed over because of `intake.expired = "earliest"`; some may
    /// have held no record.
    EXPIRED: Counter "farandole_intake_expired_total" "offsets" ["topic"];
    /// Duplicates dropped: by the chain rule, and foreign records by their `ce_source` and `ce_id`.
    DUPLICATES: Counter "farandole_intake_duplicates_total" "records" [];
    /// Stale records dropped: they belong to a lineage that a heal has replaced. A few are normal right after a heal; if it keeps
    /// growing, a service still publishes from an older database, and what it publishes is lost.
    OLDER: Counter "farandole_intake_older_lineage_total" "records" ["topic"];
    /// Parked inputs that were eventually processed.
    RELEASED: Counter "farandole_released_total" "inputs" [];
    /// Inputs that are parked now, up to 10,000; every 10 s.
    PARKED_INPUTS: Gauge "farandole_parked_inputs" "inputs" ["reader"];
    /// Aggregates with parked inputs now, up to 10,000; every 10 s. An input whose aggregate isn't its key counts under both
    /// names.
    PARKED_KEYS: Gauge "farandole_parked_keys" "keys" ["reader"];
}
