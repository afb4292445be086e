//! The metrics of batches.

crate::ground::metric::declare! {
    /// Inputs per transaction: batch sizes of records, commands, deadlines and outcomes.
    BATCH_INPUTS: Histogram "farandole_batch_inputs" "inputs" [];
}
