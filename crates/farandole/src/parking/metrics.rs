//! The metrics of parking.

crate::ground::metric::declare! {
    /// Inputs that were parked: records, deadlines, outcomes of effects.
    PARKED: Counter "farandole_parked_total" "inputs" [];
}
