//! Reading partitions from the brokers, on threads of their own.

use rdkafka::config::ClientConfig;
use tokio::sync::mpsc;

use crate::heal::Error;
use crate::publish::relay::own::Own;
use crate::publish::relay::{self, ends};
use crate::wire::extent::{Client, Extent, View};
use crate::wire::record::Record;

/// Records handed on at once, and their bytes: with [`WAITING`] and what the client fetches ahead (4 MiB) all the memory used.
const RECORDS: usize = 500;
const BYTES: usize = 1 << 20;
/// What the client fetches ahead, in KiB; and the least of it, and of a batch's bytes, where many partitions share it.
const FETCHED_KB: usize = 4096;
const LEAST: usize = 64 << 10;
/// Batches read ahead.
const WAITING: usize = 2;

/// An offset at or before the first own record that has a number of `number` or more.
pub(super) async fn before(kafka: ClientConfig, extent: Extent, own: Own, number: i64) -> Result<i64, Error> {
    ends::blocking("looking for where to begin", move || {
        Ok(ends::before(&Client::new(&kafka, View::Everything)?, &extent, &own, number)?)
    })
    .await
}

/// The records of a partition from offset `from` up to its high end, in batches: one of `side_by_side` that are read at the same time and
/// share the memory. Each has a thread of its own, which waits until its records are wanted: of a runtime's there may be fewer.
pub(super) fn records(
    mut kafka: ClientConfig,
    extent: Extent,
    from: i64,
    side_by_side: usize,
) -> mpsc::Receiver<Result<Vec<Record>, Error>> {
    let share = |whole: usize, least: usize| (whole / side_by_side.max(1)).max(least);
    let most = share(BYTES, LEAST);
    if side_by_side > 1 {
        kafka.set("queued.max.messages.kbytes", share(FETCHED_KB, LEAST / 1024).to_string());
        kafka.set("fetch.message.max.bytes", share(FETCHED_KB * 1024, LEAST).to_string());
    }
    let (batches, receiver) = mpsc::channel(WAITING);
    let failed = batches.clone();
    let reading = move || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let read = Client::new(&kafka, View::Everything).map_err(Error::from).and_then(|client| {
            client.each(&[Extent { low: from, ..extent }], |record| {
                bytes += record.size();
                batch.push(record);
                if batch.len() < RECORDS && bytes < most {
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
    };
    if std::thread::Builder::new().name("heal-reader".to_owned()).spawn(reading).is_err() {
        // There is room: nothing was sent yet.
        let _ = failed.try_send(Err(relay::Error::Thread { doing: "reading a partition" }.into()));
    }
    receiver
}
