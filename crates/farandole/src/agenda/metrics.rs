//! The metrics of the agenda.

crate::ground::metric::declare! {
    /// Deadlines and effects that are open; beyond 10,000 what the planner estimates. What is parked isn't among them.
    OPEN: Gauge "farandole_agenda_open" "tasks" ["kind"];
    /// Since the oldest open effect was opened.
    OLDEST_EFFECT_SECONDS: Gauge "farandole_agenda_oldest_effect_seconds" "seconds" [];
    /// From a deadline's due time to the commit of its decision.
    DEADLINE_LATENESS_SECONDS: Histogram "farandole_agenda_deadline_lateness_seconds" "seconds" [];
    /// Length of one attempt at an effect.
    EFFECT_SECONDS: Histogram "farandole_agenda_effect_seconds" "seconds" ["target"];
    /// Attempts, by `outcome`, `retry`, `unknown`, `timeout` or `panic`.
    EFFECT_ATTEMPTS: Counter "farandole_agenda_effect_attempts_total" "attempts" ["target", "result"];
    /// The other side asked for a longer wait than `agenda.longest_wait`; that was kept instead.
    WAITS_CUT: Counter "farandole_agenda_waits_cut_total" "answers" ["target"];
    /// 0 closed, 1 half open, 2 open: no calls.
    BREAKER_STATE: Gauge "farandole_agenda_breaker_state" "0, 1 or 2" ["target"];
    /// A task was put off that could neither be decided nor parked: `full`, at a limit of what may be parked, or `failed`.
    DEFERRED: Counter "farandole_agenda_deferred_total" "times" ["name", "why"];
    /// An outcome came after its claim had gone to another worker.
    LOST: Counter "farandole_agenda_lost_total" "times" [];
}
