//! What must be true, each checked for every order and every SKU. Pure.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::books::{Card, Parcel};
use crate::check::Check;
use crate::facts::{End, Facts, Order};
use crate::tables::Held;

/// What was read back.
#[derive(Debug)]
pub struct Read<'a> {
    pub facts: &'a Facts,
    pub held: &'a Held,
    pub cards: &'a HashMap<Uuid, Card>,
    pub parcels: &'a HashMap<Uuid, Vec<Parcel>>,
    /// How often each `Message-ID` came to the mail catcher, if there is one and it has them all.
    pub caught: Option<&'a HashMap<String, u32>>,
}

impl Read<'_> {
    /// All but that of mails, which only notifications sends.
    pub fn checks(&self) -> Vec<Check> {
        vec![self.money(), self.stock(), self.ended(), self.one_each(), self.settled(), self.delivered()]
    }

    fn card(&self, id: &Uuid) -> Card {
        self.cards.get(id).cloned().unwrap_or_default()
    }

    /// Invariant 1: authorised = captured + voided + expired + open and captured = refunded + kept, as the events tell it and as the
    /// acquirer has it.
    fn money(&self) -> Check {
        let mut check =
            Check::new("1. money: authorised = captured + voided + expired + open, captured = refunded + kept; so the acquirer");
        for (id, order) in &self.facts.orders {
            let (money, card) = (&order.money, self.card(id));
            let told = (money.authorised, money.voided, money.captured, money.refunded);
            let is = (card.authorised, card.voided, card.captured, card.refunded);
            check.about(id, order, told == is, || format!("{money:?}, the acquirer has {card:?}"));
            let open = money.authorised - money.voided - money.expired - money.captured;
            let whole = [money.voided, money.captured, money.refunded].iter().all(|part| *part == 0 || *part == money.authorised);
            check.about(id, order, open >= 0 && card.open() >= 0 && money.refunded <= money.captured && whole, || {
                format!("in part, or more than there was: {money:?}, {card:?}")
            });
        }
        for id in self.cards.keys() {
            check.that(self.facts.orders.contains_key(id), || format!("the acquirer knows {id}, which is no order"));
        }
        check
    }

    /// Invariant 2: received + adjusted = available + reserved + shipped, none negative, in the topic and in the table alike.
    fn stock(&self) -> Check {
        let mut check =
            Check::new("2. stock: received + adjusted = available + reserved + shipped, none negative, table = topic");
        let (mut reserved, mut shipped) = (BTreeMap::<&str, i64>::new(), BTreeMap::<&str, i64>::new());
        for order in self.facts.orders.values() {
            order.reserved.iter().for_each(|(sku, n)| *reserved.entry(sku).or_default() += n);
            order.shipped.iter().for_each(|(sku, n)| *shipped.entry(sku).or_default() += n);
        }
        for (sku, stock) in &self.facts.stock {
            let of = |sums: &BTreeMap<&str, i64>| sums.get(sku.as_str()).copied().unwrap_or(0);
            check.that(stock.reserved >= 0 && stock.shipped >= 0 && stock.available() >= 0, || format!("{sku}: {stock:?}"));
            check.that((of(&reserved), of(&shipped)) == (stock.reserved, stock.shipped), || {
                format!("{sku}: {stock:?}, and orders have {} reserved and {} shipped", of(&reserved), of(&shipped))
            });
            let row = self.held.stock.get(sku);
            check.that(row == Some(stock), || format!("{sku}: {stock:?}, the table has {row:?}"));
        }
        check.that(self.held.stock.len() == self.facts.stock.len(), || {
            format!("{} SKUs in the table, {} in the topic", self.held.stock.len(), self.facts.stock.len())
        });
        check
    }

    /// Invariant 3: every order ended, once, and the table says the same.
    fn ended(&self) -> Check {
        let mut check = Check::new("3. every order ended, in one way, table = topic");
        for (id, order) in &self.facts.orders {
            let end = order.end();
            check.about(id, order, end.is_final(), || end.word().to_owned());
            let row = self.held.orders.get(id).map(String::as_str);
            check.about(id, order, row == Some(end.word()), || format!("{}, the table has {row:?}", end.word()));
        }
        check.that(self.held.orders.len() == self.facts.orders.len(), || {
            format!("{} orders in the table, {} in the topic", self.held.orders.len(), self.facts.orders.len())
        });
        check
    }

    /// Invariant 4: one authorisation, one capture and one parcel an order.
    fn one_each(&self) -> Check {
        let mut check = Check::new("4. at most one authorisation, capture and parcel an order, at the acquirer and the carrier");
        for (id, order) in &self.facts.orders {
            let (granted, parcels) = (self.card(id).granted, self.parcels.get(id).map_or(0, Vec::len));
            let one = granted <= 1 && parcels <= 1 && order.money.captures <= 1 && order.parcel.dispatched.len() <= 1;
            check.about(id, order, one, || {
                format!("{granted} authorisations, {parcels} parcels; {:?}, {:?}", order.money, order.parcel)
            });
        }
        check
    }

    /// Invariant 5: rejected or cancelled leaves nothing reserved, shipped, open or kept; completed leaves what it says.
    fn settled(&self) -> Check {
        let mut check =
            Check::new("5. rejected or cancelled: nothing reserved, open or kept; completed: gone, and paid or given back");
        for (id, order) in &self.facts.orders {
            let card = self.card(id);
            let (open, kept) = (card.open(), card.captured - card.refunded);
            let reserved = !order.reserved.is_empty() || self.held.reserved.contains_key(id);
            let shipped = !order.shipped.is_empty();
            let fair = match order.end() {
                End::Rejected | End::Cancelled => !reserved && !shipped && open == 0 && kept == 0,
                End::Delivered => !reserved && shipped && open == 0 && kept > 0 && kept == card.authorised,
                End::Refunded => !reserved && shipped && open == 0 && kept == 0 && card.captured == card.authorised,
                // What can't be taken may be held until it ends by itself.
                End::Unpaid => !reserved && shipped && kept == 0,
                End::Confirmed | End::Open | End::Twice => continue,
            };
            check.about(id, order, fair, || {
                let payment = self.held.payments.get(id);
                format!(
                    "{}: reserved {reserved}, shipped {shipped}, open {open}, kept {kept}, payment {payment:?}",
                    order.end().word()
                )
            });
        }
        check
    }

    /// What shipping says of a parcel is what the carrier did with it.
    fn delivered(&self) -> Check {
        let mut check =
            Check::new("6. parcels: the carrier has those that were dispatched, and what it says of them is what is told");
        for (id, order) in &self.facts.orders {
            let (parcel, booked) = (&order.parcel, self.parcels.get(id).map(Vec::as_slice).unwrap_or_default());
            let agrees = match (parcel.dispatched.as_slice(), booked) {
                // Called back, in case it was booked though nobody heard so; that it was too late is told then.
                ([], there) => there.iter().all(|there| parcel.recalls.contains(&there.status)),
                ([tracking], [there]) => {
                    tracking == &there.tracking
                        && match there.status.as_str() {
                            "delivered" => parcel.delivered + parcel.found > 0,
                            // What nobody heard of in time is taken for lost.
                            _ => parcel.lost == 1 && parcel.found + parcel.delivered == 0,
                        }
                }
                _ => false,
            };
            check.about(id, order, agrees || !order.end().is_final(), || format!("{parcel:?}, the carrier has {booked:?}"));
            let row = self.held.shipments.get(id).map(String::as_str);
            let left = matches!(row, Some("dispatched" | "tracking" | "delivered" | "lost" | "found"));
            check.about(id, order, left != parcel.dispatched.is_empty(), || format!("{parcel:?}, the table has {row:?}"));
        }
        for id in self.parcels.keys() {
            check.that(self.facts.orders.contains_key(id), || format!("the carrier knows {id}, which is no order"));
        }
        check
    }

    /// Each customer was told of each thing once, or it is known why not; and the mail server has what is said to be sent.
    pub fn told(&self) -> Check {
        let mut check = Check::new("7. mails: one an order and kind, sent or failed; those that were sent have arrived");
        let (mut told, mut failed) = (BTreeMap::<&str, u32>::new(), 0);
        for (id, order) in &self.facts.orders {
            let due = due(order);
            for kind in &due {
                let mail = order.mails.get(*kind).cloned().unwrap_or_default();
                let is_one = mail.requested > 0 && (mail.sent.len() == 1 || mail.sent.is_empty() && mail.failed > 0);
                check.about(id, order, is_one, || format!("{kind}: {mail:?}"));
            }
            for (kind, mail) in &order.mails {
                check.about(id, order, due.contains(&kind.as_str()), || format!("{kind} is told, and hasn't happened"));
                failed += u32::from(mail.sent.is_empty() && mail.failed > 0);
                mail.sent.iter().for_each(|id| *told.entry(id).or_default() += 1);
            }
        }
        for (id, times) in &told {
            check.that(*times == 1, || format!("{id} is the Message-ID of {times} mails"));
            let caught = self.caught.is_none_or(|caught| caught.contains_key(*id));
            check.that(caught, || format!("{id} is said to be sent, and the mail catcher doesn't have it"));
        }
        let by_mail: HashMap<&str, &str> = told.keys().map(|id| (mail_of(id), *id)).collect();
        for id in self.caught.into_iter().flat_map(HashMap::keys) {
            check.that(told.contains_key(id.as_str()), || match by_mail.get(mail_of(id)) {
                Some(other) => format!("{id} and {other} are one mail under two Message-IDs"),
                None => format!("{id} has come, and nobody tells of it"),
            });
        }
        let sent = told.len();
        check.notes.push(match self.caught {
            Some(caught) => {
                let again: u32 = caught.values().map(|times| times.saturating_sub(1)).sum();
                format!("{sent} mail(s) sent, {failed} failed; {again} came again under the same Message-ID")
            }
            None => {
                format!("{sent} mail(s) sent, {failed} failed; what came wasn't looked at: there is no catcher that has them all")
            }
        });
        check
    }
}

/// Order and kind, as a `Message-ID` begins with them: the next part is another for each time that an operator asked.
fn mail_of(message_id: &str) -> &str {
    message_id.match_indices('.').nth(1).map_or(message_id, |(end, _)| &message_id[..end])
}

/// What a customer is to be told of an order.
fn due(order: &Order) -> Vec<&'static str> {
    let table = [
        ("taken", order.placed.is_some()),
        ("confirmed", order.confirmed.is_some()),
        ("rejected", order.rejected > 0),
        ("cancelled", order.cancelled > 0),
        ("dispatched", !order.parcel.dispatched.is_empty()),
        ("delivered", order.parcel.delivered > 0),
        ("refunded", order.money.refunded > 0),
    ];
    table.into_iter().filter(|(_, is_so)| *is_so).map(|(kind, _)| kind).collect()
}

impl Check {
    /// One thing checked of an order; `otherwise` says what is there instead, and the order's history follows.
    fn about(&mut self, id: &Uuid, order: &Order, holds: bool, otherwise: impl FnOnce() -> String) {
        self.that(holds, || format!("order {id}: {}; {}", otherwise(), crate::history::line(order)));
    }
}

#[cfg(test)]
mod tests {
    use schemas::orders::Completion;

    use super::*;
    use crate::facts::{Mail, Money, Stock};

    /// How many violations each check finds in one order.
    fn violated(order: Order, card: Card, parcels: &[(&str, &str)], row: &str, shipment: Option<&str>) -> Vec<usize> {
        let id = Uuid::nil();
        let facts = Facts { orders: [(id, order)].into(), ..Facts::default() };
        let mut held = Held { orders: [(id, row.to_owned())].into(), ..Held::default() };
        held.shipments.extend(shipment.map(|word| (id, word.to_owned())));
        let parcel = |(tracking, status): &(&str, &str)| -> Parcel {
            serde_json::from_value(serde_json::json!({"tracking": tracking, "status": status, "reference": "x"})).unwrap()
        };
        let (cards, parcels) = ([(id, card)].into(), [(id, parcels.iter().map(parcel).collect())].into());
        let read = Read { facts: &facts, held: &held, cards: &cards, parcels: &parcels, caught: None };
        read.checks().iter().map(|check| check.violations).collect()
    }

    fn sent(id: &str) -> Mail {
        Mail { requested: 1, sent: vec![id.to_owned()], failed: 0 }
    }

    fn told(facts: &Facts, caught: Option<&[&str]>) -> Check {
        let count = |ids: &[&str]| {
            let mut count = HashMap::<String, u32>::new();
            ids.iter().for_each(|id| *count.entry((*id).to_owned()).or_default() += 1);
            count
        };
        let caught = caught.map(count);
        let (held, cards, parcels) = (Held::default(), HashMap::new(), HashMap::new());
        Read { facts, held: &held, cards: &cards, parcels: &parcels, caught: caught.as_ref() }.told()
    }

    #[test]
    fn a_customer_is_told_once() {
        let see = |change: fn(&mut BTreeMap<String, Mail>), caught: &[&str]| {
            let mut order = Order { placed: Some(1), ..Order::default() };
            order.mails.insert("taken".to_owned(), sent("<1@x>"));
            change(&mut order.mails);
            let facts = Facts { orders: [(Uuid::nil(), order)].into(), ..Facts::default() };
            told(&facts, Some(caught)).violations
        };
        assert_eq!(see(|_| (), &["<1@x>"]), 0);
        assert_eq!(see(|_| (), &[]), 1, "it never arrived");
        assert_eq!(see(|_| (), &["<1@x>", "<2@x>"]), 1, "one too many arrived");
        assert_eq!(see(|mails| mails.clear(), &[]), 1, "nobody was told");
        assert_eq!(see(|mails| drop(mails.insert("delivered".to_owned(), sent("<2@x>"))), &["<1@x>", "<2@x>"]), 1, "it isn't so");
    }

    /// A crash between the server's word and ours repeats a mail: it is counted. Under another Message-ID it would be another mail.
    #[test]
    fn a_mail_that_came_again_is_counted_and_one_under_two_ids_is_seen() {
        let mut order = Order { placed: Some(1), confirmed: Some(2), ..Order::default() };
        order.mails.insert("taken".to_owned(), sent("<o.taken.a@x>"));
        order.mails.insert("confirmed".to_owned(), Mail { requested: 1, failed: 1, ..Mail::default() });
        let facts = Facts { orders: [(Uuid::nil(), order)].into(), ..Facts::default() };
        let again = told(&facts, Some(&["<o.taken.a@x>", "<o.taken.a@x>", "<o.taken.a@x>"]));
        let counted = "1 mail(s) sent, 1 failed; 2 came again under the same Message-ID";
        assert_eq!((again.violations, again.notes), (0, vec![counted.to_owned()]));
        let two = told(&facts, Some(&["<o.taken.a@x>", "<o.taken.b@x>"]));
        assert_eq!(two.examples, ["<o.taken.b@x> and <o.taken.a@x> are one mail under two Message-IDs"]);
        let unread = told(&facts, None);
        assert!(unread.violations == 0 && unread.notes[0].contains("wasn't looked at"), "{unread}");
    }

    fn pieces() -> BTreeMap<String, i64> {
        [("a".to_owned(), 1)].into()
    }

    /// As it should be.
    fn delivered() -> (Order, Card) {
        let mut order = Order { placed: Some(1), confirmed: Some(2), completed: vec![Completion::Delivered], ..Order::default() };
        order.money = Money { authorised: 5, authorisations: 1, captured: 5, captures: 1, ..Money::default() };
        order.parcel.dispatched.push("t".to_owned());
        order.parcel.delivered = 1;
        order.shipped = pieces();
        (order, Card { granted: 1, authorised: 5, captured: 5, ..Card::default() })
    }

    const THERE: &[(&str, &str)] = &[("t", "delivered")];

    #[test]
    fn a_delivered_order_is_paid_and_gone() {
        let see = |change: fn(&mut Order, &mut Card)| {
            let (mut order, mut card) = delivered();
            change(&mut order, &mut card);
            violated(order, card, THERE, "delivered", Some("delivered"))
        };
        assert_eq!(see(|_, _| {}), [0, 0, 0, 0, 0, 0]);
        assert_eq!(see(|order, _| order.reserved = pieces()), [0, 0, 0, 0, 1, 0], "still reserved");
        assert_eq!(see(|order, _| order.shipped.clear()), [0, 0, 0, 0, 1, 0], "goods never left the books");
        assert_eq!(see(|_, card| card.refunded = 5), [1, 0, 0, 0, 1, 0], "given back behind our back");
        assert_eq!(see(|_, card| card.captured = 3), [1, 0, 0, 0, 1, 0], "taken in part");
        assert_eq!(see(|_, card| (card.granted, card.authorised) = (2, 10)), [1, 0, 0, 1, 1, 0], "authorised twice");
        assert_eq!(see(|order, _| order.completed.push(Completion::Unpaid)), [0, 0, 2, 0, 0, 0], "ended twice");
        assert_eq!(see(|order, _| order.parcel.dispatched.push("u".to_owned())), [0, 0, 0, 1, 0, 1], "dispatched twice");
        assert_eq!(see(|order, _| order.parcel.delivered = 0), [0, 0, 0, 0, 0, 1], "nobody was told");
        let (order, card) = delivered();
        let lost = violated(order.clone(), card.clone(), &[("t", "lost")], "delivered", Some("delivered"));
        assert_eq!(lost, [0, 0, 0, 0, 0, 1], "the carrier lost it");
        let two = violated(order.clone(), card.clone(), &[("t", "delivered"), ("u", "booked")], "delivered", Some("delivered"));
        assert_eq!(two, [0, 0, 0, 1, 0, 1], "two parcels");
        assert_eq!(
            violated(order.clone(), card.clone(), THERE, "unpaid", Some("delivered")),
            [0, 0, 1, 0, 0, 0],
            "the table differs"
        );
        assert_eq!(violated(order, card, THERE, "delivered", Some("prepared")), [0, 0, 0, 0, 0, 1], "its table differs");
    }

    #[test]
    fn what_came_to_nothing_leaves_nothing() {
        let cancelled = Order { placed: Some(1), cancelled: 1, ..Order::default() };
        let see = |order: Order, card| violated(order, card, &[], "cancelled", None);
        assert_eq!(see(cancelled.clone(), Card::default()), [0, 0, 0, 0, 0, 0]);
        let open = Card { granted: 1, authorised: 5, ..Card::default() };
        assert_eq!(see(cancelled.clone(), open), [1, 0, 0, 0, 1, 0], "still open");
        assert_eq!(see(Order { reserved: pieces(), ..cancelled.clone() }, Card::default()), [0, 0, 0, 0, 1, 0], "still reserved");
        let unended = Order { placed: Some(1), ..Order::default() };
        assert_eq!(violated(unended, Card::default(), &[], "placed", None), [0, 0, 2, 0, 0, 0], "open");
    }

    #[test]
    fn stock_that_does_not_add_up_is_seen() {
        let stock = Stock { received: 1, reserved: 2, ..Stock::default() };
        let facts = Facts { stock: [("a".to_owned(), stock)].into(), ..Facts::default() };
        let (held, cards, parcels) = (Held::default(), HashMap::new(), HashMap::new());
        let read = Read { facts: &facts, held: &held, cards: &cards, parcels: &parcels, caught: None };
        assert_eq!(read.stock().violations, 4, "oversold, for no order, not in the table, tables differ in length");
    }
}
