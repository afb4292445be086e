//! A change of prices, as somebody sends it.

use farandole::Problem;
use schemas::sku;
use serde_json::Value;

use crate::basket::MAX_PRICE;
use crate::fields::{Wrong, error};

/// Changes a request: some 100 kB.
const MAX_CHANGES: usize = 1_000;

/// What an article is to cost from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The article.
    pub sku: String,
    /// ISO 4217.
    pub currency: String,
    /// Minor units.
    pub unit_price: i64,
}

impl Change {
    /// Reads `{"prices": [{"sku": …, "currency": …, "unit_price": …}, …]}`.
    ///
    /// # Errors
    /// 422 with every wrong field.
    pub fn read(body: &Value) -> Result<Vec<Self>, Problem> {
        let Value::Object(fields) = body else {
            return Err(Problem::new(422, "invalid-request", "the body must be a JSON object"));
        };
        let mut wrong = Wrong::default();
        wrong.known(fields, "", &["prices"]);
        let prices = match fields.get("prices") {
            Some(Value::Array(prices)) if (1..=MAX_CHANGES).contains(&prices.len()) => prices.as_slice(),
            _ => {
                wrong.0.push(error("prices", format!("must be a list of 1 to {MAX_CHANGES} prices")));
                &[]
            }
        };
        let changes = prices.iter().enumerate().filter_map(|(i, price)| Self::one(&mut wrong, i, price)).collect();
        if wrong.0.is_empty() { Ok(changes) } else { Err(Problem::invalid(wrong.0)) }
    }

    fn one(wrong: &mut Wrong, i: usize, price: &Value) -> Option<Self> {
        let Value::Object(price) = price else {
            wrong.0.push(error(format!("prices[{i}]"), "must be an object of sku, currency and unit_price"));
            return None;
        };
        wrong.known(price, &format!("prices[{i}]."), &["sku", "currency", "unit_price"]);
        Some(Self {
            sku: wrong.checked(price, "sku", &format!("prices[{i}].sku"), sku::RULE, sku::is_one),
            currency: wrong.currency(price, &format!("prices[{i}].currency")),
            unit_price: wrong.integer(price, "unit_price", format!("prices[{i}].unit_price"), 0, MAX_PRICE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let wrong = |body: Value| Change::read(&body).unwrap_err().errors.into_iter().map(|e| e.field).collect::<Vec<_>>();
        let prices = json!([{ "sku": "", "currency": "euro", "unit_price": -1, "colour": 1 }, 7]);
        let fields = ["prices[0].colour", "prices[0].sku", "prices[0].currency", "prices[0].unit_price", "prices[1]"];
        assert_eq!(wrong(json!({ "prices": prices })), fields);
        assert_eq!(wrong(json!({ "price": 1 })), ["price", "prices"]);
        assert_eq!(
            wrong(json!({ "prices": vec![json!({ "sku": "a", "currency": "EUR", "unit_price": 1 }); 1_001] })),
            ["prices"]
        );
        let right = Change::read(&json!({ "prices": [{ "sku": "a", "currency": "EUR", "unit_price": 0 }] })).unwrap();
        assert_eq!(right, [Change { sku: "a".to_owned(), currency: "EUR".to_owned(), unit_price: 0 }]);
    }
}
