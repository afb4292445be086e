//! The addresses of customers, by their ids, until somebody keeps better ones.

use lettre::Address;

/// What is wrong with a setting.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Where the id goes.
const PLACE: &str = "{customer}";
/// Characters of an address's local part, RFC 5321.
const LONGEST: usize = 64;

/// How an id becomes an address.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    before: String,
    after: String,
}

impl Addresses {
    /// # Errors
    /// When `{customer}` isn't there once, or what is around it makes no address.
    pub fn new(template: &str) -> Result<Self, Error> {
        let parts = template.split_once(PLACE).filter(|(_, after)| !after.contains(PLACE) && after.contains('@'));
        let (before, after) = parts.ok_or("`own.address_of` has to name `{customer}` once, before the `@`")?;
        let addresses = Self { before: before.to_owned(), after: after.to_owned() };
        addresses.of("1").map_err(|reason| format!("`own.address_of` makes no address: {reason}"))?;
        Ok(addresses)
    }

    /// The address of this customer.
    ///
    /// # Errors
    /// Why there is none, in words without the id: it may be anything.
    pub fn of(&self, customer: &str) -> Result<Address, String> {
        let text = format!("{}{customer}{}", self.before, self.after);
        let (local, domain) = text.rsplit_once('@').unwrap_or_default();
        if customer.is_empty() || !is_local_part(local) {
            let rule = "letters, digits and !#$%&'*+-/=?^_`{|}~ only, with single dots between them, 64 in all";
            return Err(format!("the customer's id can't be the local part of an address: {rule}"));
        }
        Address::new(local, domain).map_err(|error| format!("no address: {error}"))
    }
}

/// A dot-atom of RFC 5322: neither quoted nor beyond ASCII, which not every server takes.
fn is_local_part(text: &str) -> bool {
    let is_atom =
        |atom: &str| !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b));
    text.len() <= LONGEST && text.split('.').all(is_atom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Addresses {
        Addresses::new("{customer}@customers.example").unwrap()
    }

    #[test]
    fn ids_that_can_be_a_local_part_are_one() {
        for id in ["17850", "anna", "a.b", "o'hara+shop", "x{y}"] {
            assert_eq!(shop().of(id).unwrap().to_string(), format!("{id}@customers.example"));
        }
        assert_eq!(Addresses::new("c+{customer}@x.example").unwrap().of("7").unwrap().to_string(), "c+7@x.example");
    }

    /// Guard: an id may be any text, and must not become another address, or a header.
    #[test]
    fn others_are_refused_without_being_repeated() {
        let long = "x".repeat(65);
        let anything = [
            "",
            "a b",
            "a\r\nBcc: all@x.example",
            "a@b",
            "a,b",
            "a>b",
            "<a",
            "\"a\"",
            ".a",
            "a.",
            "a..b",
            "ä",
            "\u{202e}a",
            &long,
        ];
        for id in anything {
            let reason = shop().of(id).unwrap_err();
            assert!(reason.starts_with("the customer's id can't be") && (id.len() < 3 || !reason.contains(id)), "{id}: {reason}");
        }
    }

    #[test]
    fn a_template_that_makes_no_address_is_told_at_the_start() {
        for template in
            ["", "orders@x.example", "x@{customer}.example", "{customer}{customer}@x.example", "{customer}@", "a b{customer}@x"]
        {
            assert!(Addresses::new(template).unwrap_err().to_string().contains("`own.address_of`"), "{template}");
        }
    }
}
