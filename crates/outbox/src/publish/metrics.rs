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
    /// Since the oldest unsent row happened; 0 when there is none; every 10 s.
    OLDEST_UNSENT_SECONDS: Gauge "farandole_relay_oldest_unsent_seconds" "seconds" [];
    /// Another replica took the lease over.
    FENCED: Counter "farandole_relay_fenced_total" "times" [];
    /// A round was given up because of Kafka or PostgreSQL.
    TROUBLES: Counter "farandole_relay_troubles_total" "times" [];
    /// Rows that may be appended before another partition must have been made; every 10 s.
    OUTBOX_ROOM_ROWS: Gauge "farandole_outbox_room_rows" "rows" [];
    /// Age of the oldest snapshot that a session holds: what keeps old row versions from being cleaned up.
    XMIN_AGE_TRANSACTIONS: Gauge "farandole_xmin_age_transactions" "transactions" [];
}
