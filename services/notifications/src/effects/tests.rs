//! What each of a mail server's answers means here. What a real one says is tried in `tests/catcher.rs`.

use farandole::Timestamp;
use schemas::notifications::NotificationLine;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::kinds::{Kind, SendTaken};

/// The answers of a server: to the connection, EHLO, NOOP, MAIL, RCPT, DATA, and the mail. An empty one ends the connection.
type Script = [&'static str; 7];

const SERVES: Script = ["220 here", "250 here", "250 ok", "250 ok", "250 ok", "354 go on", "250 taken"];

fn but(at: usize, answer: &'static str) -> Script {
    let mut script = SERVES;
    script[at] = answer;
    script
}

fn taken(customer: &str) -> Effect {
    let lines = vec![NotificationLine { sku: "tea".into(), quantity: 2, unit_price: 250 }];
    let (customer, currency, detail) = (customer.into(), "EUR".into(), String::new());
    let (order_id, kind) = (Uuid::from_u128(7), Kind::Taken);
    SendTaken(Mail { order_id, kind, attempt: 1, customer, currency, total: 500, lines, detail }).into()
}

fn call(key: u128, attempt: u32) -> Call {
    let first_attempt_at = Timestamp::from_micros(0);
    Call { idempotency_key: Uuid::from_u128(key), attempt, first_attempt_at, aggregate: "o".into(), traceparent: None }
}

fn mailer(url: &str) -> Mailer {
    Mailer::new(url, "The shop <orders@shop.example>", "{customer}@x.example", Duration::from_millis(500)).unwrap()
}

/// Serves by the script.
async fn server(script: Script) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let serve = async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            connections.spawn(play(script, BufReader::new(socket)));
        }
    };
    (url, tokio::spawn(serve))
}

async fn play(script: Script, mut socket: BufReader<TcpStream>) -> std::io::Result<()> {
    let mut at = 0;
    while !script[at].is_empty() {
        if script[at] != "silence" {
            socket.write_all(format!("{}\r\n", script[at]).as_bytes()).await?;
        }
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            break;
        }
        at = match line.get(..4).unwrap_or_default() {
            "EHLO" => 1,
            "NOOP" => 2,
            "MAIL" => 3,
            "RCPT" => 4,
            "DATA" => 5,
            "QUIT" => return socket.write_all(b"221 bye\r\n").await,
            _ => {
                while !line.ends_with("\r\n.\r\n") && socket.read_line(&mut line).await? > 0 {}
                6
            }
        };
    }
    Ok(())
}

async fn ask(script: Script) -> Result<Outcome, EffectError> {
    let (url, server) = server(script).await;
    let told = mailer(&url).run(&call(5, 1), &taken("anna")).await;
    server.abort();
    told
}

#[tokio::test]
async fn every_answer_of_a_server_has_a_meaning() {
    let told = ask(SERVES).await;
    let id = "<00000000-0000-0000-0000-000000000007.taken.00000000000000000000000000000005@shop.example>";
    assert_eq!(told, Ok(Outcome::Sent { message_id: id.to_owned() }));

    // Of the mail, for good.
    for script in
        [but(4, "550 no such user"), but(4, "553 mailbox name"), but(5, "554 spam"), but(6, "554 spam"), but(6, "552 too big")]
    {
        let told = ask(script).await;
        assert!(matches!(&told, Ok(Outcome::Refused { reason }) if reason.contains("55")), "{script:?}: {told:?}");
    }
    // Put off; or said of us, or before the mail was known: a wrong setting mustn't fail every mail.
    let later = [
        but(0, "421 busy"),
        but(0, "554 no mail here"),
        but(1, "550 who are you"),
        but(3, "451 later"),
        but(3, "530 authenticate first"),
        but(4, "450 mailbox busy"),
        but(4, "451 greylisted"),
        but(5, "503 what"),
        but(6, "452 disk full"),
    ];
    for script in later {
        let told = ask(script).await;
        assert!(matches!(told, Err(EffectError::Retry { .. })), "{script:?}: {told:?}");
    }
    // It may have been taken.
    for script in [but(6, ""), but(6, "silence"), but(6, "what?")] {
        let told = ask(script).await;
        assert!(matches!(told, Err(EffectError::Unknown { .. })), "{script:?}: {told:?}");
    }
}

#[tokio::test]
async fn nobody_there_means_nothing_was_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    drop(listener);
    let told = mailer(&url).run(&call(5, 1), &taken("anna")).await;
    assert!(matches!(told, Err(EffectError::Retry { .. })), "{told:?}");
}

/// Guard: without, a customer's id is a header of the mail, and sends it to whom it likes.
#[tokio::test]
async fn an_id_that_is_no_address_reaches_no_server() {
    for id in ["a\r\nBcc: all@x.example", "a\nb", "a b", "ä"] {
        // Nobody listens there: a mail that is tried isn't refused.
        let told = mailer("smtp://127.0.0.1:9").run(&call(5, 1), &taken(id)).await;
        assert!(matches!(&told, Ok(Outcome::Refused { reason }) if reason.starts_with("the customer's id")), "{id}: {told:?}");
    }
}

#[tokio::test]
async fn a_mail_that_is_sent_again_is_the_same_mail() {
    let mut ids = Vec::new();
    for (key, attempt) in [(5, 1), (5, 2), (6, 1)] {
        let (url, server) = server(SERVES).await;
        let mailer = mailer(&url);
        let told = mailer.run(&call(key, attempt), &taken("anna")).await;
        drop(mailer);
        server.abort();
        let Ok(Outcome::Sent { message_id }) = told else { panic!("{told:?}") };
        ids.push(message_id);
    }
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[test]
fn wrong_settings_are_told_without_the_password() {
    let new = |url: &str, from: &str| Mailer::new(url, from, "{customer}@x.example", Duration::from_secs(1));
    for (url, from, named) in [
        ("smtp", "a@x.example", "`own.smtp_url`"),
        ("http://me:hunter2@x.example", "a@x.example", "`own.smtp_url`"),
        ("smtp://me:hunter2@", "a@x.example", "`own.smtp_url`"),
        ("smtp://x.example", "the shop", "`own.from`"),
        ("smtp://x.example", "a@x.example\r\nBcc: b@x.example", "`own.from`"),
    ] {
        let error = new(url, from).err().unwrap().to_string();
        assert!(error.contains(named) && !error.contains("hunter2"), "{error}");
    }
    for url in ["smtp://x.example", "smtp://x.example:25?tls=required", "smtps://me:hunter2@x.example"] {
        assert!(new(url, "The shop <a@x.example>").is_ok(), "{url}");
    }
}
