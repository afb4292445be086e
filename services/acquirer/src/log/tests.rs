//! What the log gives back after it was cut, damaged or opened twice.

use super::*;
use crate::authorisation::{Authorisation, Currency, State};
use jiff::Timestamp;
use uuid::Uuid;

fn line(number: u128) -> Line {
    Line {
        authorisation: Some(Authorisation {
            id: Uuid::from_u128(number),
            merchant_reference: "o-1".into(),
            amount: 1,
            currency: Currency::parse("EUR").unwrap(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            state: State::Authorised,
        }),
        key: None,
    }
}

fn text(numbers: impl IntoIterator<Item = u128>) -> String {
    numbers.into_iter().map(|n| serde_json::to_string(&line(n)).unwrap() + "\n").collect()
}

fn replay(content: &[u8]) -> Result<(Vec<u128>, bool), Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), content).unwrap();
    let mut seen = Vec::new();
    let replayed = Directory::open(dir.path())?.replay(|line| seen.push(line.authorisation.unwrap().id.as_u128()))?;
    assert_eq!(replayed.lines, seen.len() as u64);
    Ok((seen, replayed.torn))
}

#[test]
fn a_torn_last_line_is_dropped_and_no_other() {
    let whole = text([1, 2, 3]);
    let second_ends = text([1, 2]).len();
    assert_eq!(replay(b"").unwrap(), (vec![], false));
    assert_eq!(replay(whole.as_bytes()).unwrap(), (vec![1, 2, 3], false));
    // Wherever it tears: the two lines before are there; the third only with its closing brace.
    for cut in second_ends..whole.len() {
        let expected = match cut - second_ends {
            0 => (vec![1, 2], false),
            n if n == whole.len() - second_ends - 1 => (vec![1, 2, 3], false),
            _ => (vec![1, 2], true),
        };
        assert_eq!(replay(&whole.as_bytes()[..cut]).unwrap(), expected, "cut at {cut}");
    }
    assert_eq!(replay(&[whole.as_bytes(), &[0xFF, 0]].concat()).unwrap(), (vec![1, 2, 3], true));
    let damaged = format!("{}not JSON\n{}", text([1]), text([2]));
    assert!(matches!(replay(damaged.as_bytes()), Err(Error::Damaged { line: 2, .. })));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Directory::open(dir.path()).unwrap();
    assert!(matches!(Directory::open(dir.path()), Err(Error::InUse { .. })));
    let log = first.rewrite(std::iter::empty()).unwrap();
    assert!(matches!(Directory::open(dir.path()), Err(Error::InUse { .. })));
    drop(log);
    Directory::open(dir.path()).unwrap();
}

#[tokio::test]
async fn what_is_durable_is_in_the_file_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = Directory::open(dir.path()).unwrap().rewrite([line(0)].into_iter()).unwrap();
    let mut last = 0;
    for number in 1..=500 {
        last = log.append(&line(number)).unwrap();
    }
    log.durable(last).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), text(0..=500));
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let log = Directory::open(dir.path()).unwrap().rewrite(std::iter::empty()).unwrap();
    drop(log);
    // A file opened for reading takes no write, as a full disk wouldn't.
    let path = dir.path().join(FILE);
    let lock = File::create(dir.path().join(LOCK)).unwrap();
    let log = Log::start(File::open(&path).unwrap(), path, lock).unwrap();
    let number = log.append(&line(1)).unwrap();
    assert!(matches!(log.durable(number).await, Err(Error::Failed)));
    log.ended().await;
    assert!(matches!(log.durable(number).await, Err(Error::Failed)));
}
