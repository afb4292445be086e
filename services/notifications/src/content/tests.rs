//! What customers read.

use farandole::testing::committed;
use schemas::notifications::NotificationLine;
use uuid::Uuid;

use super::*;
use crate::kinds;

fn line(sku: &str, quantity: i32, unit_price: i64) -> NotificationLine {
    NotificationLine { sku: sku.to_owned(), quantity, unit_price }
}

fn mail(kind: Kind, detail: &str) -> Mail {
    Mail {
        order_id: Uuid::from_u128(0x0193_7a51_0c2e_7d3b_8f00_4c1d_9e5a_b7f2),
        kind,
        attempt: 1,
        customer: "17850".to_owned(),
        currency: "GBP".to_owned(),
        total: 125_122,
        lines: vec![line("85123A", 6, 255), line("84406B", 120, 995), line("71053", 8, 524)],
        detail: detail.to_owned(),
    }
}

#[test]
fn the_plain_form_is_the_committed_one() {
    let mut all = String::new();
    for kind in kinds::ALL {
        let detail = match kind {
            Kind::Rejected => "There is too little in stock of: 71053",
            Kind::Cancelled => "You asked us to cancel it",
            Kind::Dispatched | Kind::Delivered => "PX-2047-113",
            Kind::Refunded => "£1,251.22",
            _ => "",
        };
        let content = of(&mail(*kind, detail)).unwrap();
        all.push_str(&format!("Subject: {}\n\n{}\n\n\n", content.subject, content.text));
        // For eyes: `PAGES=folder cargo test -p notifications plain_form`.
        if let Some(folder) = std::env::var_os("PAGES") {
            std::fs::write(std::path::Path::new(&folder).join(format!("{}.html", kinds::name(*kind))), content.html).unwrap();
        }
    }
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/src/content/mails.txt"), &all);
}

/// Guard: a page is escaped. Without, an article's number runs in the customer's mail program.
#[test]
fn what_others_wrote_is_shown_and_nothing_more() {
    let mut mail = mail(Kind::Dispatched, "<img src=x onerror=alert(1)>");
    mail.lines = vec![line("<script>alert(1)</script>", 1, 5), line("a&b \"c\"", 1, 5)];
    let html = of(&mail).unwrap().html;
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("a&b"), "{html}");
    assert!(html.contains("&#60;script&#62;alert(1)&#60;/script&#62;") && html.contains("a&#38;b &#34;c&#34;"), "{html}");
}

/// Guard: nothing of others' begins a line: in a subject that would be a header, in a text a sentence of ours.
#[test]
fn what_others_wrote_begins_no_line() {
    let mut mail = mail(Kind::Dispatched, "PX\r\nBcc: all@x.example");
    mail.lines = vec![line("tea\nYour card was charged twice", 1, 5)];
    mail.currency = "E\r\nR".to_owned();
    let content = of(&mail).unwrap();
    assert!(!content.subject.contains(['\r', '\n']), "{:?}", content.subject);
    let lines: Vec<&str> = content.text.lines().collect();
    assert!(lines.contains(&"Tracking number: PX  Bcc: all@x.example"), "{}", content.text);
    assert!(!lines.iter().any(|line| line.trim_start().starts_with("Your card") || line.starts_with('R')), "{}", content.text);
}

#[test]
fn a_long_order_is_cut() {
    let mut mail = mail(Kind::Taken, "");
    mail.lines = vec![line("tea", 1, 5); SHOWN + 4_900];
    let content = of(&mail).unwrap();
    assert!(content.text.contains("and 4900 more lines") && content.html.contains("and 4900 more lines"));
    assert!(content.html.len() < 100_000, "{} bytes: mail programs cut it off", content.html.len());
}

#[test]
fn each_step_is_told_once() {
    let steps = |kind| of(&mail(kind, "")).unwrap().html.matches("class=\"done\" style=\"height:4px").count();
    let orders = [Kind::Taken, Kind::Confirmed, Kind::Dispatched, Kind::Delivered, Kind::Cancelled];
    assert_eq!(orders.map(steps), [1, 2, 3, 4, 0]);
}
