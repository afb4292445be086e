//! What a mail says, as plain text and as a page. Both are made of one [`Page`]; the templates are in `templates/`.
//!
//! **Invariant:** text of others (article, tracking number, reason) is escaped in the page, and in neither form does it begin a new line.

#[cfg(test)]
mod tests;

use askama::Template;

use crate::kinds::{Kind, Mail};
use crate::money;

/// So many lines are shown: mail programs cut long mails off.
const SHOWN: usize = 100;

/// A mail's words.
#[derive(Debug)]
pub struct Content {
    /// The header `Subject`.
    pub subject: String,
    /// The plain form.
    pub text: String,
    /// The page.
    pub html: String,
}

struct Page {
    subject: String,
    title: &'static str,
    intro: &'static str,
    /// What the detail is, and the detail; both empty when there is none.
    label: &'static str,
    detail: String,
    order_id: String,
    lines: Vec<Line>,
    /// Lines that aren't shown.
    more: usize,
    total: String,
    steps: Vec<Step>,
}

struct Line {
    sku: String,
    quantity: i32,
    unit_price: String,
    amount: String,
}

/// A step of an order's way.
struct Step {
    name: &'static str,
    done: bool,
}

#[derive(Template)]
#[template(path = "mail.txt", escape = "none")]
struct Text<'a> {
    page: &'a Page,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    page: &'a Page,
}

/// The words of `mail`.
///
/// # Errors
/// When a template can't be filled, or this build doesn't know the kind.
pub fn of(mail: &Mail) -> askama::Result<Content> {
    let page = page(mail);
    Ok(Content { text: Text { page: &page }.render()?, html: Html { page: &page }.render()?, subject: page.subject })
}

fn page(mail: &Mail) -> Page {
    let order_id = mail.order_id.to_string();
    // The last group: those before it are much alike among orders of one day.
    let short = order_id.rsplit('-').next().unwrap_or_default();
    let (before, after, title, intro, label) = told(mail.kind);
    let currency = in_one_line(&mail.currency);
    let line = |line: &schemas::notifications::NotificationLine| Line {
        sku: in_one_line(&line.sku),
        quantity: line.quantity,
        unit_price: money::format(line.unit_price, &currency),
        amount: money::format(line.unit_price.saturating_mul(i64::from(line.quantity)), &currency),
    };
    let detail = in_one_line(&mail.detail);
    Page {
        subject: format!("{before} {short}{after}"),
        title,
        intro,
        label: if detail.is_empty() { "" } else { label },
        detail,
        lines: mail.lines.iter().take(SHOWN).map(line).collect(),
        more: mail.lines.len().saturating_sub(SHOWN),
        total: money::format(mail.total, &currency),
        steps: steps(mail.kind),
        order_id,
    }
}

/// Subject before and after the order's number, title, introduction, and what the detail is.
fn told(kind: Kind) -> (&'static str, &'static str, &'static str, &'static str, &'static str) {
    match kind {
        Kind::Taken => (
            "We have received your order",
            "",
            "Thank you for your order",
            "We have received it, and are checking stock and payment now. You will hear from us as soon as it is confirmed.",
            "",
        ),
        Kind::Confirmed => (
            "Your order",
            " is confirmed",
            "Your order is confirmed",
            "Everything is set aside for you, and the amount is reserved on your card. It is charged when the parcel leaves.",
            "",
        ),
        Kind::Rejected => (
            "We can't fulfil your order",
            "",
            "We can't fulfil your order",
            "We are sorry. Nothing is charged to your card.",
            "Why",
        ),
        Kind::Cancelled => (
            "Your order",
            " is cancelled",
            "Your order is cancelled",
            "Nothing is charged to your card. An amount that was reserved on it is released.",
            "Why",
        ),
        Kind::Dispatched => (
            "Your order",
            " is on its way",
            "Your parcel is on its way",
            "We have handed it over to the carrier.",
            "Tracking number",
        ),
        Kind::Delivered => (
            "Your order",
            " has been delivered",
            "Your parcel has been delivered",
            "The carrier has handed it over. We hope that you enjoy what is in it.",
            "Tracking number",
        ),
        Kind::Refunded => (
            "Your money back for order",
            "",
            "You get your money back",
            "We have returned the amount to your card. It may take your bank a few days to show it.",
            "Amount returned",
        ),
        // No effect has it.
        Kind::Other => ("Your order", "", "Your order", "", ""),
    }
}

/// The way that most orders go, and how far this one has come; nothing for those that leave it.
fn steps(kind: Kind) -> Vec<Step> {
    let come = match kind {
        Kind::Taken => 1,
        Kind::Confirmed => 2,
        Kind::Dispatched => 3,
        Kind::Delivered => 4,
        Kind::Rejected | Kind::Cancelled | Kind::Refunded | Kind::Other => return Vec::new(),
    };
    let names = ["Received", "Confirmed", "On its way", "Delivered"];
    names.into_iter().enumerate().map(|(at, name)| Step { name, done: at < come }).collect()
}

fn in_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}
