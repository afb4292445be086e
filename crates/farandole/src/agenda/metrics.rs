//! The metrics of the agenda.

crate::ground::metric::declare! {
    /// Open deadlines and effects, not counting parked ones; beyond 10,000 the planner's estimate.
    OPEN: Gauge "farandole_agenda_open" "tasks" ["kind"];
    /// Age of the oldest open effect.
    OLDEST_EFFECT_SECONDS: Gauge "farandole_agenda_oldest_effect_seconds" "seconds" [];
    /// From a deadline's due time to the commit of its decision.
    DEADLINE_LATENESS_SECONDS: Histogram "farandole_agenda_deadline_lateness_seconds" "seconds" [];
    /// Length of one attempt at an effect.
    EFFECT_SECONDS: Histogram "farandole_agenda_effect_seconds" "seconds" ["target"];
    /// Attempts, by `outcome`, `retry`, `unknown`, `timeout` or `panic`.
    EFFECT_ATTEMPTS: Counter "farandole_agenda_effect_attempts_total" "attempts" ["target", "result"];
    /// Times that a target asked for a longer wait than `agenda.longest_wait`, which was used instead.
    WAITS_CUT: Counter "farandole_agenda_waits_cut_total" "answers" ["target"];
    /// 0 closed, 1 half open, 2 open: no calls.
    BREAKER_STATE: Gauge "farandole_agenda_breaker_state" "0, 1 or 2" ["target"];
    /// Tasks postponed because they could be neither decided nor parked: `full` (a parking limit was reached) or `failed`.
    DEFERRED: Counter "farandole_agenda_deferred_total" "times" ["name", "why"];
    /// Outcomes that arrived after another worker had taken over the claim.
    LOST: Counter "farandole_agenda_lost_total" "times" [];
}
