//! What a customer wants to order: read from JSON with every wrong field named at once, and added up.

use farandole::{FieldError, Problem};
use schemas::orders::OrderLine;
use schemas::sku;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fields::{Wrong, error};
use crate::prices::StalePrice;

/// An order has at most so many lines, which keeps its event under Kafka's usual 1 MiB.
pub const MAX_LINES: usize = 5_000;
/// Pieces a line.
const MAX_QUANTITY: i64 = 1_000_000;
/// Minor units a piece: a thousand million in most currencies.
pub const MAX_PRICE: i64 = 100_000_000_000;

/// Minor units of an order: what a card acquirer holds at most, with eight digits. More would be taken here and declined there, as if
/// it were the card's fault.
pub const MAX_TOTAL: i64 = 99_999_999;

/// A checked request for an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Basket {
    /// The customer's id.
    pub customer: String,
    /// The card provider's token.
    pub card_token: String,
    /// ISO 4217 code of every price.
    pub currency: String,
    /// What is wanted; the same article may stand in several lines.
    pub lines: Vec<OrderLine>,
    /// Prices that hold no more, as the price list has it when the request comes. No part of what was asked: the same request under the same
    /// key stays the same request though prices have changed since, and gets its first answer.
    #[serde(skip)]
    pub stale: Vec<StalePrice>,
}

impl Basket {
    /// Reads and checks a request.
    ///
    /// # Errors
    /// 422 with every wrong field.
    pub fn read(body: &Value) -> Result<Self, Problem> {
        let Value::Object(fields) = body else {
            return Err(Problem::new(422, "invalid-request", "the body must be a JSON object"));
        };
        let mut wrong = Wrong::default();
        wrong.known(fields, "", &["customer", "card_token", "currency", "lines"]);
        let basket = Self {
            customer: wrong.text(fields, "customer", 64),
            card_token: wrong.token(fields),
            currency: wrong.currency(fields, "currency"),
            lines: lines(&mut wrong, fields),
            stale: Vec::new(),
        };
        if let (true, Err(error)) = (wrong.0.is_empty(), basket.total()) {
            wrong.0.push(error);
        }
        if wrong.0.is_empty() { Ok(basket) } else { Err(Problem::invalid(wrong.0)) }
    }

    /// Quantity times price over all lines, in minor units.
    ///
    /// # Errors
    /// Names the line with which the sum is more than can be paid by card, or `lines` when nothing is to be paid.
    pub fn total(&self) -> Result<i64, FieldError> {
        let mut total = 0_i64;
        for (i, line) in self.lines.iter().enumerate() {
            total = i64::from(line.quantity)
                .checked_mul(line.unit_price)
                .and_then(|amount| total.checked_add(amount))
                .filter(|total| *total <= MAX_TOTAL)
                .ok_or_else(|| {
                    let reason = format!("with this line the total is above {MAX_TOTAL}, the most that a card is asked for");
                    error(format!("lines[{i}]"), reason)
                })?;
        }
        if total > 0 { Ok(total) } else { Err(error("lines", "the total must be more than 0")) }
    }
}

fn lines(wrong: &mut Wrong, fields: &Map<String, Value>) -> Vec<OrderLine> {
    let Some(Value::Array(lines)) =
        fields.get("lines").filter(|l| l.as_array().is_some_and(|l| (1..=MAX_LINES).contains(&l.len())))
    else {
        wrong.0.push(error("lines", format!("must be a list of 1 to {MAX_LINES} lines")));
        return Vec::new();
    };
    lines.iter().enumerate().filter_map(|(i, line)| line_of(wrong, i, line)).collect()
}

fn line_of(wrong: &mut Wrong, i: usize, line: &Value) -> Option<OrderLine> {
    let Value::Object(line) = line else {
        wrong.0.push(error(format!("lines[{i}]"), "must be an object of sku, quantity and unit_price"));
        return None;
    };
    wrong.known(line, &format!("lines[{i}]."), &["sku", "quantity", "unit_price"]);
    let sku = wrong.checked(line, "sku", &format!("lines[{i}].sku"), sku::RULE, sku::is_one);
    let quantity = wrong.integer(line, "quantity", format!("lines[{i}].quantity"), 1, MAX_QUANTITY);
    let unit_price = wrong.integer(line, "unit_price", format!("lines[{i}].unit_price"), 0, MAX_PRICE);
    Some(OrderLine { sku, quantity: i32::try_from(quantity).ok()?, unit_price })
}
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(body: Value) -> Vec<String> {
        Basket::read(&body).map(|_| Vec::new()).unwrap_or_else(|p| p.errors.into_iter().map(|e| e.field).collect())
    }

    fn with_lines(lines: Value) -> Value {
        json!({"customer": "anna", "card_token": "tok_1", "currency": "EUR", "lines": lines})
    }

    #[test]
    fn a_good_request_adds_up() {
        let lines = json!([{"sku": "tea", "quantity": 2, "unit_price": 250}, {"sku": "tea", "quantity": 1, "unit_price": 0}]);
        assert_eq!(Basket::read(&with_lines(lines)).unwrap().total(), Ok(500));
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let lines = json!([{"sku": "tea", "quantity": 0, "unit_price": 1.5}, 7, {"sku": "a\u{0}b", "quantity": 1_000_001}]);
        let body = json!({"customer": "", "card_token": "ü", "currency": "eur", "lines": lines});
        let fields = [
            "customer",
            "card_token",
            "currency",
            "lines[0].quantity",
            "lines[0].unit_price",
            "lines[1]",
            "lines[2].sku",
            "lines[2].quantity",
            "lines[2].unit_price",
        ];
        assert_eq!(wrong(body), fields);
        let more = json!([{"sku": "te\u{200b}a", "quantity": 1, "unit_price": 1, "colour": "red"}]);
        let body = json!({"customer": "a", "card_token": "t", "currency": "EUR", "lines": more, "coupon": 7});
        assert_eq!(wrong(body), ["coupon", "lines[0].colour", "lines[0].sku"]);
        assert_eq!(wrong(json!({})), ["customer", "card_token", "currency", "lines"]);
    }

    #[test]
    fn the_bounds_hold() {
        let line = json!({"sku": "x".repeat(64), "quantity": 3, "unit_price": 11_111_111});
        let table = [(1, vec![]), (3, vec![]), (4, vec!["lines[3]"]), (MAX_LINES + 1, vec!["lines"]), (0, vec!["lines"])];
        for (n, fields) in table {
            assert_eq!(wrong(with_lines(Value::Array(vec![line.clone(); n]))), fields, "{n} lines");
        }
        let most = json!([{"sku": "x", "quantity": 1_000_000, "unit_price": 100_000_000_000_i64}]);
        assert_eq!(wrong(with_lines(most)), ["lines[0]"]);
        assert_eq!(wrong(with_lines(json!([{"sku": "x".repeat(65), "quantity": 1, "unit_price": 1}]))), ["lines[0].sku"]);
        assert_eq!(wrong(with_lines(json!([{"sku": "free", "quantity": 1, "unit_price": 0}]))), ["lines"]);
    }
}
