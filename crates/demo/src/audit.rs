//! The invariants, checked on what topics, databases and the acquirer's books hold.

use std::collections::HashMap;

use explore::live;
use farandole::record::Record;
use farandole_check::Recording;
use uuid::Uuid;

use crate::allowed;
pub use crate::check::Check;
use crate::choreography::{self, Expected};
use crate::facts::{End, Facts};
use crate::ledger::{self, Card};
use crate::shop::{SERVICES, Shop};
use crate::tables::{self, Held};
use crate::topics;

/// An audit: what was found, and what was checked.
#[derive(Debug)]
pub struct Audit {
    pub facts: Facts,
    pub checks: Vec<Check>,
    /// Where records are that aren't the shop's.
    pub strays: Vec<String>,
    /// What ran.
    pub recording: Recording,
}

impl Audit {
    /// Whether everything that was checked is true.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|c| c.violations == 0)
    }
}

/// Reads everything back and checks it.
///
/// # Errors
/// When it can't be read.
pub async fn audit(shop: &Shop, account: &importer::Account, expected: Expected) -> anyhow::Result<Audit> {
    let mut audit = audit_with(shop, account, |_| {}).await?;
    let mut alone = Check::new("no record is another's");
    alone.checked = usize::try_from(audit.facts.events).unwrap_or(usize::MAX);
    std::mem::take(&mut audit.strays).into_iter().for_each(|stray| alone.that(false, || stray));
    audit.checks.push(alone);
    audit.checks.push(unparked(&audit.recording));
    audit.checks.push(declared(shop, expected).await?);
    Ok(audit)
}

/// What parks is at fault, or who reads it is; it may have been released since. Here nobody sends what is.
fn unparked(recording: &Recording) -> Check {
    let mut check = Check::new("no input had to be parked on the way");
    for (service, parked) in &recording.parked {
        parked.iter().for_each(|input| check.that(false, || format!("{service} parked {input}: its log says why")));
        check.checked += 1;
    }
    check
}

async fn declared(shop: &Shop, expected: Expected) -> anyhow::Result<Check> {
    let mut check = Check::new(match expected {
        Expected::All => "topics hold what the services declare, and all of it",
        Expected::Any => "topics hold nothing but what the services declare",
    });
    let compared = choreography::compare(shop, expected).await?;
    check.checked = compared.declared;
    compared.named.into_iter().for_each(|words| check.that(false, || words));
    Ok(check)
}

/// As [`audit`], but for records that aren't the shop's: those are told of. `see` is shown every record that a consumer would apply,
/// partition by partition in order.
///
/// # Errors
/// When it can't be read.
pub async fn audit_with(shop: &Shop, account: &importer::Account, mut see: impl FnMut(&Record)) -> anyhow::Result<Audit> {
    let codec = farandole::Codec::new(&shop.parts.registry, shop.orders_pool().await?);
    codec.add_reader_schema(<topics::Event as farandole::Message>::TYPES)?;
    let mut facts = Facts::default();
    let (mut faults, mut strays) = (Vec::new(), Vec::new());
    let (mut recording, mut unreadable) = (Recording::default(), Vec::new());
    for topic in SERVICES {
        let each = |record: &Record, at, event| {
            see(record);
            if let Err(error) = live::record(&mut recording, topic, record, &codec) {
                unreadable.push(error.to_string());
            }
            facts.add(at, event);
        };
        let wrong = topics::read(&shop.parts.kafka, &shop.parts.prefix, topic, &codec, each).await?;
        faults.extend(wrong.faults);
        strays.extend(wrong.strays);
    }
    faults.append(&mut unreadable);
    let held = tables::read(shop).await?;
    let open = tables::open_matters(shop).await?;
    let cards = ledger::read(&reqwest::Client::new(), &shop.url("acquirer")).await?;
    let mut chains = Check::new("every partition is a whole chain of readable events");
    chains.checked = usize::try_from(facts.events).unwrap_or(usize::MAX);
    faults.append(&mut facts.faults);
    for fault in faults {
        chains.that(false, || fault);
    }
    let mut rest = Check::new("nothing is open or parked");
    rest.that(open.is_empty(), || open.join(", "));
    let mut checks = vec![
        chains,
        rest,
        quiet(shop)?,
        placed(&facts, account),
        money(&facts, &cards),
        stock(&facts, &held),
        ended(&facts, &held),
        one_each(&cards),
        settled(&facts, &cards, &held),
    ];
    let (allowed, recording) = allowed::check(shop, recording).await?;
    checks.extend(allowed);
    Ok(Audit { facts, checks, strays, recording })
}

/// What a watchdog mends is a fault that would otherwise pass for a pause.
fn quiet(shop: &Shop) -> anyhow::Result<Check> {
    let mut check = Check::new("no watchdog had to act");
    for (service, line) in shop.alarms()? {
        check.that(false, || format!("{service}: {line}"));
    }
    check.checked += SERVICES.len();
    Ok(check)
}

fn placed(facts: &Facts, account: &importer::Account) -> Check {
    let mut check = Check::new("orders placed are orders in the topic");
    let n = facts.orders.values().filter(|o| o.placed.is_some()).count() as u64;
    check.that(n == account.placed, || format!("{} were placed, the topic has {n}", account.placed));
    check.that(facts.orders.len() as u64 == n, || format!("{} order(s) were never placed", facts.orders.len() as u64 - n));
    check
}

/// Invariant 1: authorised = voided + open, as the events tell it and as the acquirer has it.
fn money(facts: &Facts, cards: &HashMap<Uuid, Card>) -> Check {
    let mut check = Check::new("1. money: authorised = voided + open, and the acquirer agrees");
    let none = Card::default();
    for (id, order) in &facts.orders {
        let card = cards.get(id).unwrap_or(&none);
        check.that((order.authorised, order.voided) == (card.authorised, card.voided), || {
            format!("order {id}: {} authorised and {} voided, the acquirer has {card:?}", order.authorised, order.voided)
        });
        check.that(order.voided == 0 || order.voided == order.authorised, || format!("order {id}: voided in part"));
    }
    for id in cards.keys() {
        check.that(facts.orders.contains_key(id), || format!("the acquirer knows {id}, which is no order"));
    }
    check
}

/// Invariant 2: received = available + reserved, none negative, in the topic and in the table alike.
fn stock(facts: &Facts, held: &Held) -> Check {
    let mut check = Check::new("2. stock: received = available + reserved, none negative, table = topic");
    for (sku, stock) in &facts.stock {
        check.that(0 <= stock.reserved && stock.reserved <= stock.received, || format!("{sku}: {stock:?}"));
        check.that(held.stock.get(sku) == Some(stock), || format!("{sku}: {stock:?}, the table has {:?}", held.stock.get(sku)));
    }
    check.that(held.stock.len() == facts.stock.len(), || {
        format!("{} SKUs in the table, {} in the topic", held.stock.len(), facts.stock.len())
    });
    check
}

/// Invariant 3: every order ended, once, and the table says the same.
fn ended(facts: &Facts, held: &Held) -> Check {
    let mut check = Check::new("3. every order ended, in one way, table = topic");
    for (id, order) in &facts.orders {
        let word = match order.end() {
            End::Confirmed => "confirmed",
            End::Rejected => "rejected",
            End::Cancelled => "cancelled",
            End::Open => "open",
            End::Twice => "ended twice",
        };
        check.that(!matches!(order.end(), End::Open | End::Twice), || format!("order {id}: {word}"));
        let row = held.orders.get(id).map(String::as_str);
        check.that(row == Some(word), || format!("order {id}: {word}, the table has {row:?}"));
    }
    check.that(held.orders.len() == facts.orders.len(), || {
        format!("{} orders in the table, {} in the topic", held.orders.len(), facts.orders.len())
    });
    check
}

/// Invariant 4, for cards: one authorisation an order.
fn one_each(cards: &HashMap<Uuid, Card>) -> Check {
    let mut check = Check::new("4. at most one authorisation an order at the acquirer");
    for (id, card) in cards {
        check.that(card.granted <= 1, || format!("order {id} has {}", card.granted));
    }
    check
}

/// Invariant 5: rejected or cancelled leaves nothing reserved or open; confirmed has both.
fn settled(facts: &Facts, cards: &HashMap<Uuid, Card>, held: &Held) -> Check {
    let mut check = Check::new("5. rejected or cancelled: nothing reserved or open; confirmed: both");
    for (id, order) in &facts.orders {
        let open = cards.get(id).map_or(0, |c| c.authorised - c.voided);
        let (topic, table) = (!order.reserved.is_empty(), held.reserved.contains_key(id));
        let payment = held.payments.get(id).map(String::as_str);
        match order.end() {
            End::Confirmed => {
                check.that(topic && table && open > 0 && payment == Some("authorised"), || {
                    format!("order {id} is confirmed: reserved {topic}/{table}, open {open}, payment {payment:?}")
                });
            }
            End::Rejected | End::Cancelled => {
                check.that(!topic && !table && open == 0 && payment != Some("authorised"), || {
                    format!("order {id} came to nothing: reserved {topic}/{table}, open {open}, payment {payment:?}")
                });
            }
            End::Open | End::Twice => {}
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Order;

    fn facts(order: Order) -> Facts {
        Facts { orders: HashMap::from([(Uuid::nil(), order)]), ..Facts::default() }
    }

    #[test]
    fn each_violation_is_seen() {
        let cancelled = Order { placed: Some(1), cancelled: 1, ..Order::default() };
        let clean = settled(&facts(cancelled.clone()), &HashMap::new(), &Held::default());
        assert_eq!(clean.violations, 0);

        let mut reserved = cancelled.clone();
        reserved.reserved.insert("a".to_owned(), 1);
        assert_eq!(settled(&facts(reserved), &HashMap::new(), &Held::default()).violations, 1, "still reserved");

        let open = HashMap::from([(Uuid::nil(), Card { granted: 1, authorised: 5, voided: 0 })]);
        assert_eq!(settled(&facts(cancelled.clone()), &open, &Held::default()).violations, 1, "still open");
        assert_eq!(money(&facts(cancelled.clone()), &open).violations, 1, "the acquirer has more than the topic");

        let twice = HashMap::from([(Uuid::nil(), Card { granted: 2, authorised: 10, voided: 5 })]);
        assert_eq!(one_each(&twice).violations, 1, "authorised twice");

        let unended = Order { placed: Some(1), ..Order::default() };
        assert_eq!(ended(&facts(unended), &Held::default()).violations, 3, "open, not in the table, tables differ in length");

        let stocked =
            Facts { stock: [("a".to_owned(), crate::facts::Stock { received: 1, reserved: 2 })].into(), ..Facts::default() };
        assert_eq!(stock(&stocked, &Held::default()).violations, 3, "oversold, not in the table, tables differ in length");
    }
}
