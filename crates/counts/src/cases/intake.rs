//! A batch of records of one partition, up to the database and behind it.

use std::collections::HashSet;
use std::hint::black_box;

use anyhow::ensure;
use farandole::chain::{Head, Place};
use farandole::config::Unknown;
use farandole::engine::{DecisionContext, Decoded, IdempotencyCache, Plan, Verdict, fresh_id, net_of_tasks, read_in_chain};
use farandole::intake::{Position, judge};
use farandole::{Codec, Keys, Message as _, Participant as _, Record, Tables as _, Timestamp, outbox};
use orders::tables::Tables;
use orders::{Event, Heard};

use crate::case::Case;
use crate::cases::decide::{ORDERS, placed};
use crate::sample::{AT, Stored, authorised, order_id};

/// Events a batch, each of another order.
const BATCH: u64 = 256;
const BATCHES: u64 = 10;

/// What a worker and the engine do of a batch's transaction in memory: the chain rule, decoding, the rows' keys, the aggregates' names,
/// the decisions, and the statements with their arrays. The database's answers, the rows, are there already.
pub fn batches() -> anyhow::Result<Case> {
    let codec = Codec::offline(&[Heard::TYPES, Event::TYPES].concat());
    let record = |number: u64| -> anyhow::Result<Record> {
        let heard = Heard::from(authorised(number));
        let (id, aggregate, cause) =
            (order_id(number + BATCH), order_id(number).to_string(), format!("outcome/authorise/{number}"));
        let (seq, kind, payload) = (i64::try_from(number)?, heard.name(), heard.encode(&codec)?);
        Ok(Stored { seq, topic: "payments", id, aggregate, kind, payload, cause }.record(seq))
    };
    let records: Vec<Record> = (1..=BATCH).map(record).collect::<Result<_, _>>()?;
    let tables = || {
        let mut tables = Tables::default();
        (1..=BATCH).for_each(|number| tables.orders.given(&order_id(number), Some(placed(number))));
        tables
    };
    let head = Head { place: Place { lineage: 1, number: 0 }, previous: None };
    let position = Position { next_offset: 1, heads: [("/farandole/payments".to_owned(), head)].into(), ..Position::default() };
    let one = move |records: Vec<Record>, position: Position, tables: Tables| batch(&codec, position, records, tables);
    let stories = |n: u64| -> Vec<_> { (0..n).map(|_| (records.clone(), position.clone(), tables())).collect() };
    for (records, position, tables) in stories(1) {
        let Plan { verdicts, outbox, tasks } = one(records, position, tables)?;
        let done = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Done(_))).count();
        ensure!((done, outbox.len(), tasks.len()) == (BATCH as usize, BATCH as usize, 0), "{done} are decided: {verdicts:?}");
    }
    let stories = stories(BATCHES);
    let work = move || stories.into_iter().try_for_each(|(records, position, tables)| one(records, position, tables).map(drop));
    Ok(Case { events: BATCH * BATCHES, work: Box::new(work) })
}

/// Gives what the batch would write, but for the tasks, which are in the statements.
fn batch(codec: &Codec, position: Position, records: Vec<Record>, mut tables: Tables) -> anyhow::Result<Plan> {
    let judged = judge("payments", position, records);
    ensure!(judged.broken.is_none(), "the chain is broken");
    let (mut works, mut at) = (Vec::new(), Vec::new());
    for (i, item) in judged.items.iter().enumerate() {
        match read_in_chain(&ORDERS, &item.record, codec, Unknown::Park) {
            Decoded::Input(work) => {
                at.push((i, work.id.to_string()));
                works.push(*work);
            }
            said => anyhow::bail!("it can't be read: {said:?}"),
        }
    }
    let (mut keys, mut more) = (Keys::default(), Keys::default());
    works.iter().for_each(|work| keys.merge(ORDERS.touches(&work.id, &work.input)));
    works.iter().for_each(|work| more.merge(ORDERS.touches_more(&tables, &work.id, &work.input)));
    ensure!(tables.take_missed().is_none() && !keys.is_empty() && more.is_empty(), "other rows than orders' are touched");
    let aggregates: Vec<String> = works.iter().map(|work| work.id.to_string()).collect();
    let mut names: Vec<&str> = aggregates.iter().map(String::as_str).collect();
    names.extend(works.iter().filter_map(|work| work.origin.key.as_deref()));
    names.sort_unstable();
    names.dedup();
    black_box(&names);
    for work in &mut works {
        work.input.at = Timestamp::from_micros(AT);
    }
    let standing = vec![true; works.len()];
    let ground = DecisionContext { participant: &ORDERS, codec, topic: "orders", standing: &standing, event_id: &fresh_id };
    let mut plan = ground.plan(&works, &aggregates, &mut tables, &mut IdempotencyCache::default(), &mut HashSet::new())?;
    let _ = black_box(tables.orders.change());
    let _ = black_box(outbox::insert(&plan.outbox));
    black_box(net_of_tasks(std::mem::take(&mut plan.tasks)));
    Ok(plan)
}
