//! Amounts as people read them: `€1,234.50`, `¥1,235`, `BHD 1.234`.

/// How many digits of an amount are minor units: ISO 4217, list one (2026), where it isn't 2. Funds and metals have no price here.
const EXPONENTS: [(u32, &[&str]); 3] = [
    (0, &["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"]),
    (3, &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]),
    (4, &["CLF", "UYW"]),
];

/// Signs that stand for one currency to nearly everyone; others are named by their code.
const SIGNS: [(&str, &str); 4] = [("EUR", "€"), ("GBP", "£"), ("JPY", "¥"), ("USD", "$")];

/// `amount` minor units of `currency`, an ISO 4217 code.
pub fn format(amount: i64, currency: &str) -> String {
    let exponent = EXPONENTS.iter().find(|(_, codes)| codes.contains(&currency)).map_or(2, |(exponent, _)| *exponent);
    let (unit, minus) = (10_u64.pow(exponent), if amount < 0 { "-" } else { "" });
    let (whole, rest) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    let sign = SIGNS.iter().find(|(code, _)| *code == currency).map(|(_, sign)| *sign);
    // A code isn't torn from its number at a line's end.
    let before = sign.map_or_else(|| format!("{currency}\u{a0}"), ToOwned::to_owned);
    let number = grouped(whole);
    match exponent {
        0 => format!("{minus}{before}{number}"),
        _ => format!("{minus}{before}{number}.{rest:0width$}", width = exponent as usize),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits.char_indices().flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit])).collect()
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn each_currency_has_its_digits() {
        for (amount, currency, text) in [
            (0, "EUR", "€0.00"),
            (5, "GBP", "£0.05"),
            (99_999, "USD", "$999.99"),
            (100_000, "EUR", "€1,000.00"),
            (123_456_789, "CHF", "CHF\u{a0}1,234,567.89"),
            (1_235, "JPY", "¥1,235"),
            (1_234, "BHD", "BHD\u{a0}1.234"),
            (12_345_678, "KWD", "KWD\u{a0}12,345.678"),
            (12_345, "CLF", "CLF\u{a0}1.2345"),
            (-1_050, "EUR", "-€10.50"),
            (i64::MIN, "XAF", "-XAF\u{a0}9,223,372,036,854,775,808"),
        ] {
            assert_eq!(format(amount, currency), text);
        }
    }
}
