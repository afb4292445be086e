//! Who is declined, and why: the card token says it. Pure; the table is in the crate's documentation.

use crate::authorisation::{Purchase, Reason};

/// How the card issuers feel today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// The token decides.
    ByToken,
    /// Every card is declined, whatever its token.
    DeclinesAll,
}

/// The reason to decline this purchase, if there is one.
pub fn decline(purchase: &Purchase, issuer: Issuer) -> Option<Reason> {
    if issuer == Issuer::DeclinesAll {
        return Some(Reason::DoNotHonour);
    }
    let token = purchase.card_token.as_str();
    if token.starts_with("tok_decline") {
        return Some(Reason::InsufficientFunds);
    }
    if token.starts_with("tok_lost") {
        return Some(Reason::LostCard);
    }
    if token.starts_with("tok_expired") {
        return Some(Reason::ExpiredCard);
    }
    let limit = token.strip_prefix("tok_limit_").and_then(leading_number)?;
    (purchase.amount > limit).then_some(Reason::LimitExceeded)
}

/// The number a text starts with: what follows it only makes the token unique (`tok_limit_5000_anna`).
fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorisation::Currency;

    #[test]
    fn the_token_decides() {
        use Reason::*;
        let table = [
            ("tok_visa", 100, None),
            ("", 100, None),
            ("tok_decline", 100, Some(InsufficientFunds)),
            ("tok_declined_42", 100, Some(InsufficientFunds)),
            ("tok_lost", 100, Some(LostCard)),
            ("tok_expired_7", 100, Some(ExpiredCard)),
            ("tok_limit_5000", 4_999, None),
            ("tok_limit_5000", 5_000, None),
            ("tok_limit_5000", 5_001, Some(LimitExceeded)),
            ("tok_limit_5000_anna", 5_001, Some(LimitExceeded)),
            ("tok_limit_", 5_001, None),
            ("tok_limit_x", 5_001, None),
            ("my_tok_decline", 100, None),
        ];
        for (token, amount, reason) in table {
            let purchase = Purchase {
                merchant_reference: "o-1".into(),
                amount,
                currency: Currency::parse("EUR").unwrap(),
                card_token: token.into(),
            };
            assert_eq!(decline(&purchase, Issuer::ByToken), reason, "{token} {amount}");
            assert_eq!(decline(&purchase, Issuer::DeclinesAll), Some(DoNotHonour), "{token}");
        }
    }
}
