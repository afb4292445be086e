//! The metrics of batches.

crate::ground::metric::declare! {
    /// Inputs a transaction: sizes of the batches of records, commands, deadlines and outcomes.
    BATCH_INPUTS: Histogram "farandole_batch_inputs" "inputs" [];
}
