//! The metrics of the relay.

crate::ground::metric::declare! {
    /// 1 on the replica that publishes.
    ACTIVE: Gauge "farandole_relay_active" "0 or 1" [];
    /// Rows published and acknowledged.
    PUBLISHED: Counter "farandole_relay_published_total" "rows" [];
    /// Sizes of the relay's batches.
    BATCH_ROWS: Histogram "farandole_relay_batch_rows" "rows" [];
    /// Rows that aren't acknowledged yet, up to 100,000; every 10 s.
    UNSENT_ROWS: Gauge "farandole_relay_unsent_rows" "rows" [];
    /// Age of the oldest unsent row; 0 when there is none; every 10 s.
    OLDEST_UNSENT_SECONDS: Gauge "farandole_relay_oldest_unsent_seconds" "seconds" [];
    /// Times that another replica took over the lease.
    FENCED: Counter "farandole_relay_fenced_total" "times" [];
    /// Rounds aborted because of Kafka or PostgreSQL.
    TROUBLES: Counter "farandole_relay_troubles_total" "times" [];
    /// Rows that can be appended before another partition has to exist; every 10 s.
    OUTBOX_ROOM_ROWS: Gauge "farandole_outbox_room_rows" "rows" [];
    /// Age of the oldest snapshot held by a session, which keeps dead rows from being vacuumed.
    XMIN_AGE_TRANSACTIONS: Gauge "farandole_xmin_age_transactions" "transactions" [];
}
