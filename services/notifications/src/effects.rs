//! The mail server, over SMTP.
//!
//! An attempt says one of three things: an outcome; "not done", when the server couldn't be reached or put the mail off (4xx); or
//! "unknown", when the connection broke while the mail was under way. The last two are tried again, under the same `Message-ID`. A mail
//! that the server refuses for good (5xx) is an outcome, and so is a customer's id of which no address can be made.
//!
//! **Only what is said of the mail is an outcome.** A refusal counts if the server then serves us otherwise: one that greets us with 554, or
//! takes no password of ours, says nothing about the customer's address. Without this rule a wrong setting fails every mail for good.
//!
//! **Invariant:** nothing of a customer's becomes a header but the address, and that one has only characters that an address may have.

mod address;
#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::agenda::{Call, EffectError, EffectHandler};
use lettre::message::{Mailbox, MultiPart, header};
use lettre::transport::smtp;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use uuid::Uuid;

use crate::content;
use crate::kinds::{self, Effect, Mail, Outcome};
use crate::participant::Notifications;
use address::{Addresses, Error};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Answers of 5xx that are about us and not about the mail: commands it doesn't know, no mail taken here, encryption or a password wanted.
const ABOUT_US: [u16; 10] = [500, 502, 503, 504, 521, 523, 530, 534, 535, 538];
/// How lettre begins the error of a connection that was never there; it has no other way to tell.
const NOT_CONNECTED: &str = "Connection error";
/// So much of what a server says is kept.
const WORDS: usize = 300;

/// A client of the mail server.
pub struct Mailer {
    from: Mailbox,
    addresses: Addresses,
    transport: Transport,
    timeout: Duration,
}

impl EffectHandler<Notifications> for Mailer {
    fn target(&self, _effect: &Effect) -> &'static str {
        "smtp"
    }

    async fn run(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        let mail = effect.mail();
        let to = match self.addresses.of(&mail.customer) {
            Ok(address) => Mailbox::new(None, address),
            Err(reason) => return Ok(Outcome::Refused { reason }),
        };
        let message_id = self.message_id(mail, call.idempotency_key);
        let message = match self.message(mail, to, message_id.clone()) {
            Ok(message) => message,
            Err(error) => return Ok(Outcome::Refused { reason: format!("it can't be written: {error}") }),
        };
        let sent = async {
            match self.transport.send(message).await {
                Ok(_) => Ok(Outcome::Sent { message_id }),
                Err(error) => meaning(&self.transport, &error).await,
            }
        };
        // lettre waits for an answer as long as it takes. Cancelled, it closes the connection.
        let late = |_| Err(EffectError::Unknown { reason: format!("no answer within {:?}", self.timeout) });
        tokio::time::timeout(self.timeout, sent).await.unwrap_or_else(late)
    }
}

impl Mailer {
    /// A client of the server at `url`, that writes as `from`; `address_of` is a customer's address with `{customer}` for the id.
    ///
    /// # Errors
    /// When one of them isn't what it has to be. No password is in the error.
    pub fn new(url: &str, from: &str, address_of: &str, timeout: Duration) -> Result<Self, Error> {
        let server = Transport::from_url(url).map_err(|error| format!("`own.smtp_url`: {error}"))?;
        let from = from.parse().map_err(|error| format!("`own.from` has to be `Name <address>`: {error}"))?;
        Ok(Self { from, addresses: Addresses::new(address_of)?, transport: server.build(), timeout })
    }

    /// The same for all attempts of one request: its idempotency key is.
    fn message_id(&self, mail: &Mail, key: Uuid) -> String {
        let domain = self.from.email.domain();
        format!("<{}.{}.{}@{domain}>", mail.order_id, kinds::name(mail.kind), key.simple())
    }

    fn message(&self, mail: &Mail, to: Mailbox, message_id: String) -> Result<Message, Error> {
        let content = content::of(mail)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(content.subject)
            .message_id(Some(message_id))
            // Of RFC 3834: nobody's holiday notice answers it.
            .raw_header(header::HeaderValue::new(
                header::HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".into(),
            ))
            .multipart(MultiPart::alternative_plain_html(content.text, content.html))?;
        Ok(message)
    }
}

/// What an error means.
async fn meaning(transport: &Transport, error: &smtp::Error) -> Result<Outcome, EffectError> {
    let reason = words(error);
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() && !ABOUT_US.contains(&code) => match transport.test_connection().await {
            Ok(true) => Ok(Outcome::Refused { reason }),
            Ok(false) | Err(_) => Err(EffectError::Retry { reason, after: None }),
        },
        Some(_) => Err(EffectError::Retry { reason, after: None }),
        None if error.is_tls() || reason.starts_with(NOT_CONNECTED) => Err(EffectError::Retry { reason, after: None }),
        None => Err(EffectError::Unknown { reason }),
    }
}

/// An error in one line, not too long.
fn words(error: &smtp::Error) -> String {
    error.to_string().chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
