//! Reading partitions from the brokers, on threads of their own.

use rdkafka::config::ClientConfig;
use tokio::sync::mpsc;

use crate::heal::Error;
use crate::publish::relay::ends;
use crate::publish::relay::own::Own;
use crate::wire::extent::{Client, Extent, View};
use crate::wire::record::Record;

/// Records handed on at once, and their bytes: with [`WAITING`] and what the client fetches ahead (4 MiB) all the memory used.
const RECORDS: usize = 500;
const BYTES: usize = 1 << 20;
/// Batches read ahead.
const WAITING: usize = 2;

/// An offset at or before the first own record that has a number of `number` or more.
pub(super) async fn before(kafka: ClientConfig, extent: Extent, own: Own, number: i64) -> Result<i64, Error> {
    ends::blocking("looking for where to begin", move || {
        Ok(ends::before(&Client::new(&kafka, View::Everything)?, &extent, &own, number)?)
    })
    .await
}

/// The records of a partition from offset `from` up to its high end, in batches.
pub(super) fn records(kafka: ClientConfig, extent: Extent, from: i64) -> mpsc::Receiver<Result<Vec<Record>, Error>> {
    let (batches, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let read = Client::new(&kafka, View::Everything).map_err(Error::from).and_then(|client| {
            client.each(&[Extent { low: from, ..extent }], |record| {
                bytes += record.size();
                batch.push(record);
                if batch.len() < RECORDS && bytes < BYTES {
                    return Ok(true);
                }
                bytes = 0;
                // Who reads has gone: nobody waits for the rest.
                Ok::<_, Error>(batches.blocking_send(Ok(std::mem::take(&mut batch))).is_ok())
            })
        });
        let last = read.map(|()| batch);
        if !matches!(&last, Ok(batch) if batch.is_empty()) {
            let _ = batches.blocking_send(last); // as above
        }
    });
    receiver
}
