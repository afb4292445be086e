//! What articles cost, and since when. Callers send the prices they saw; one that holds no more is refused with the one that does.
//!
//! Somebody who looks at a page, fills a cart and pays has seen prices of hours ago. So a price holds for [`Rules::kept_for`] after it was
//! replaced. That makes a list that is some seconds old as good as the newest one.

use std::time::Duration;

use farandole::{FieldError, Problem, Timestamp};
use serde::Serialize;
use serde_json::json;

/// Refused prices that an answer names.
const NAMED: usize = 100;

/// When a price is refused.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How long a price holds after another one came.
    pub kept_for: Duration,
    /// Whether an article without any price is refused. Otherwise it costs what the caller says.
    pub required: bool,
}

/// What an article costs from an instant on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// ISO 4217.
    pub currency: String,
    /// Minor units.
    pub unit_price: i64,
    /// From when on.
    pub valid_from: Timestamp,
}

/// A price that a caller saw and that holds no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StalePrice {
    /// Where the caller named it: `lines[2].unit_price`.
    pub field: String,
    /// The article.
    pub sku: String,
    /// What the caller saw, in minor units.
    pub seen: i64,
    /// What it costs; none when it isn't sold in the order's currency.
    pub now: Option<i64>,
    /// Since when; in RFC 3339, as all instants are.
    #[serde(serialize_with = "as_text")]
    pub since: Option<Timestamp>,
}

fn as_text<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}

impl StalePrice {
    fn reason(&self) -> String {
        match (self.now, &self.since) {
            (Some(now), Some(since)) => format!("{} costs {now} since {since}, no longer {}", self.sku, self.seen),
            _ => format!("{} has no price in this currency", self.sku),
        }
    }
}

/// What `seen` has to be instead at `at`; none when it holds. `history` is of one article, oldest price first.
pub fn instead(
    history: &[Price],
    rules: Rules,
    currency: &str,
    seen: i64,
    at: Timestamp,
) -> Option<(Option<i64>, Option<Timestamp>)> {
    if history.is_empty() && !rules.required {
        return None;
    }
    let mut newer: Option<&Price> = None;
    let mut current = None;
    for price in history.iter().rev().filter(|price| price.currency == currency) {
        let holds = newer.is_none_or(|newer| newer.valid_from.plus(rules.kept_for) > at);
        if price.unit_price == seen && holds {
            return None;
        }
        current = current.or(Some(price));
        newer = Some(price);
    }
    Some((current.map(|price| price.unit_price), current.map(|price| price.valid_from)))
}

/// Whether no price is stale.
///
/// # Errors
/// 409 with each of them, old and new.
pub fn hold(stale: &[StalePrice]) -> Result<(), Problem> {
    if stale.is_empty() {
        return Ok(());
    }
    let detail = format!("{} of the prices hold no more; order again with those in `prices`", stale.len());
    let named = &stale[..stale.len().min(NAMED)];
    let mut problem = Problem::conflict("price-changed", detail).with("prices", json!(named));
    problem.errors = named.iter().map(|stale| FieldError { field: stale.field.clone(), reason: stale.reason() }).collect();
    Err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { kept_for: Duration::from_secs(10), required: false };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn history(prices: &[(&str, i64, i64)]) -> Vec<Price> {
        let price = |(currency, unit_price, from): &(&str, i64, i64)| Price {
            currency: (*currency).to_owned(),
            unit_price: *unit_price,
            valid_from: at(*from),
        };
        prices.iter().map(price).collect()
    }

    #[test]
    fn a_price_holds_until_some_time_after_the_next() {
        let known = history(&[("EUR", 100, 0), ("EUR", 120, 50), ("EUR", 130, 55)]);
        let is = |seen, now: i64| instead(&known, RULES, "EUR", seen, at(now));
        let new = Some((Some(130), Some(at(55))));
        assert_eq!(is(130, 56), None);
        assert_eq!((is(100, 59), is(100, 60)), (None, new), "replaced at 50");
        assert_eq!((is(120, 64), is(120, 65)), (None, new), "replaced at 55");
        assert_eq!(is(110, 56), new, "it never cost that");
    }

    #[test]
    fn a_price_that_comes_back_holds() {
        let known = history(&[("EUR", 100, 0), ("EUR", 120, 50), ("EUR", 100, 99)]);
        assert_eq!(instead(&known, RULES, "EUR", 100, at(1_000)), None);
        assert_eq!(instead(&known, RULES, "EUR", 120, at(1_000)), Some((Some(100), Some(at(99)))));
    }

    #[test]
    fn an_article_is_sold_in_its_currencies() {
        let known = history(&[("EUR", 100, 0), ("GBP", 90, 5)]);
        assert_eq!(instead(&known, RULES, "GBP", 90, at(9)), None);
        assert_eq!(instead(&known, RULES, "USD", 1, at(9)), Some((None, None)));
    }

    #[test]
    fn an_article_without_prices_costs_what_the_caller_says_unless_told_otherwise() {
        assert_eq!(instead(&[], RULES, "EUR", 7, at(9)), None);
        assert_eq!(instead(&[], Rules { required: true, ..RULES }, "EUR", 7, at(9)), Some((None, None)));
    }

    #[test]
    fn a_refusal_names_old_and_new() {
        let stale = |n: usize| StalePrice {
            field: format!("lines[{n}].unit_price"),
            sku: "tea".to_owned(),
            seen: 100,
            now: Some(120),
            since: Some(at(50)),
        };
        let problem = hold(&[stale(3)]).unwrap_err();
        assert_eq!((problem.status, problem.kind.as_str()), (409, "/problems/price-changed"));
        assert_eq!(problem.errors[0].reason, "tea costs 120 since 1970-01-01T00:00:50.000000Z, no longer 100");
        let prices = &serde_json::to_value(&problem).unwrap()["prices"];
        assert_eq!(
            (&prices[0]["field"], &prices[0]["seen"], &prices[0]["now"]),
            (&json!("lines[3].unit_price"), &json!(100), &json!(120))
        );
        assert_eq!(hold(&(0..5_000).map(stale).collect::<Vec<_>>()).unwrap_err().errors.len(), NAMED);
        assert_eq!(hold(&[]), Ok(()));
    }
}
