//! What is ordered: three lines of many articles, chosen by the order's number, the same in every run.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::json;

/// Lines of an order.
const LINES: usize = 3;
/// Customers, each with a card of its own.
const CUSTOMERS: u64 = 10_007;

/// Articles, and how many of each are in stock.
#[derive(Debug, Clone)]
pub struct Range {
    /// Before the articles' numbers: two ranges share none.
    pub name: String,
    pub articles: u64,
    pub pieces: u64,
}

impl Range {
    /// Number `n` of the articles.
    pub fn article(&self, n: u64) -> String {
        format!("{}{n:05}", self.name)
    }

    /// The receipt of article `n`.
    pub fn receipt(&self, n: u64) -> Bytes {
        json!({ "sku": self.article(n), "quantity": self.pieces }).to_string().into()
    }

    /// The articles of order `k`, which differ if there are enough.
    fn chosen(&self, k: u64) -> Vec<u64> {
        let mut chosen = Vec::with_capacity(LINES);
        let mut next = k;
        while chosen.len() < LINES {
            next = mixed(next);
            let article = next % self.articles;
            if !chosen.contains(&article) || self.articles < LINES as u64 {
                chosen.push(article);
            }
        }
        chosen
    }

    /// Order `k` of three lines, a piece of each.
    pub fn order(&self, k: u64) -> Bytes {
        order(k, &self.chosen(k).into_iter().map(|n| self.article(n)).collect::<Vec<_>>())
    }

    /// Order `k` of one piece of one article.
    pub fn piece(&self, k: u64) -> Bytes {
        order(k, &[self.article(mixed(k) % self.articles)])
    }

    /// Pieces that are sold when orders of [one piece](Self::piece) with these numbers are served.
    pub fn sold(&self, orders: std::ops::Range<u64>) -> u64 {
        let mut asked: HashMap<u64, u64> = HashMap::new();
        orders.for_each(|k| *asked.entry(mixed(k) % self.articles).or_default() += 1);
        asked.values().map(|asked| self.pieces.min(*asked)).sum()
    }
}

fn order(k: u64, articles: &[String]) -> Bytes {
    let lines: Vec<_> = articles.iter().map(|sku| json!({ "sku": sku, "quantity": 1, "unit_price": 499 })).collect();
    let customer = format!("c{}", k % CUSTOMERS);
    let card = format!("tok_{customer}");
    json!({ "customer": customer, "card_token": card, "currency": "GBP", "lines": lines }).to_string().into()
}

/// Neighbours lead far apart (SplitMix64).
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_spread_over_the_articles_and_no_line_is_twice() {
        let range = Range { name: "a".to_owned(), articles: 100, pieces: 1 };
        assert_eq!((range.sold(0..10_000), range.sold(7..8)), (100, 1));
        let mut times = [0_u32; 100];
        for k in 0..10_000 {
            let mut chosen = range.chosen(k);
            chosen.iter().for_each(|n| times[usize::try_from(*n).unwrap()] += 1);
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), LINES);
        }
        assert!(times.iter().all(|n| (220..380).contains(n)), "{times:?}");
    }
}
