//! The metrics of the intake and of what is parked.

crate::ground::metric::declare! {
    /// Partitions of a heard topic that this replica reads; every 5 s.
    PARTITIONS: Gauge "farandole_intake_partitions" "partitions" ["topic"];
    /// Records of this replica's partitions that aren't applied yet; every 5 s. `NaN` while that isn't known: the topic isn't
    /// there, nobody reads one of its partitions, or the consumer group isn't joined.
    LAG_RECORDS: Gauge "farandole_intake_lag_records" "records" ["topic"];
    /// Since the last record that was applied happened, of the partition that is furthest behind; 0 when nothing waits, `NaN`
    /// when that isn't known; every 5 s.
    LAG_SECONDS: Gauge "farandole_intake_lag_seconds" "seconds" ["topic"];
    /// A Kafka client gave nothing for a minute although there was more, and was made anew. More than none is a fault of kit or
    /// client library.
    WATCHDOG: Counter "farandole_intake_watchdog_total" "times" [];
    /// A partition began again from its position: `fenced` (another owner, or the position was set by hand), `panic`, or
    /// `stopped` (the client could not go on from there).
    RESTARTS: Counter "farandole_intake_restarts_total" "times" ["why"];
    /// Records passed over because of `intake.unknown = "ignore"`; of more than 100 types the rest count as `other`.
    IGNORED: Counter "farandole_intake_ignored_total" "records" ["topic", "type"];
    /// Records dropped because they were seen before: by the chain rule, and foreign ones by their `ce_source` and `ce_id`.
    DUPLICATES: Counter "farandole_intake_duplicates_total" "records" [];
    /// Records dropped since they belong to a lineage that another has replaced: some may have been under way at a heal; those that go
    /// on coming are written from an older database, and lost.
    OLDER: Counter "farandole_intake_older_lineage_total" "records" ["topic"];
    /// Parked inputs that were processed at last.
    RELEASED: Counter "farandole_released_total" "inputs" [];
    /// Inputs that are parked now, up to 10,000; every 10 s.
    PARKED_INPUTS: Gauge "farandole_parked_inputs" "inputs" ["reader"];
    /// Aggregates with parked inputs now, up to 10,000; every 10 s. Where an input's aggregate isn't its key, one that waits
    /// under the other name counts too.
    PARKED_KEYS: Gauge "farandole_parked_keys" "keys" ["reader"];
}
