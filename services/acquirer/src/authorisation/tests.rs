//! The rules of capture, void and refund, as one table.

use super::*;

fn at(state: State) -> Authorisation {
    Authorisation {
        id: Uuid::nil(),
        merchant_reference: "o-1".into(),
        amount: 1_000,
        currency: Currency::parse("EUR").unwrap(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        state,
    }
}

const NEW: State = State::Authorised;
const VOIDED: State = State::Voided;
const DECLINED: State = State::Declined { reason: Reason::LostCard };

const fn taken(captured: u64, refunded: u64) -> State {
    State::Captured { captured, refunded }
}

#[test]
fn every_state_answers_every_command() {
    enum Ask {
        Capture(u64),
        Void,
        Refund(u64),
    }
    use Ask::*;
    let table = [
        (NEW, Capture(1_000), Ok(taken(1_000, 0))),
        (NEW, Capture(400), Ok(taken(400, 0))),
        (NEW, Capture(1_001), Err("capture_exceeds_authorised")),
        (taken(400, 0), Capture(600), Err("captured")),
        (VOIDED, Capture(1), Err("voided")),
        (DECLINED, Capture(1), Err("declined")),
        (NEW, Void, Ok(VOIDED)),
        (VOIDED, Void, Ok(VOIDED)),
        (taken(400, 0), Void, Err("captured")),
        (taken(400, 400), Void, Err("captured")),
        (DECLINED, Void, Err("declined")),
        (taken(400, 0), Refund(400), Ok(taken(400, 400))),
        (taken(400, 100), Refund(300), Ok(taken(400, 400))),
        (taken(400, 100), Refund(301), Err("refund_exceeds_captured")),
        (taken(400, 400), Refund(1), Err("refund_exceeds_captured")),
        (NEW, Refund(1), Err("not_captured")),
        (VOIDED, Refund(1), Err("voided")),
        (DECLINED, Refund(1), Err("declined")),
    ];
    for (row, (state, ask, expected)) in table.into_iter().enumerate() {
        let answer = match ask {
            Capture(amount) => at(state).capture(amount),
            Void => at(state).void(),
            Refund(amount) => at(state).refund(amount),
        };
        assert_eq!(answer.map_err(Refusal::code), expected, "row {row}");
    }
}

#[test]
fn the_status_is_the_state_in_one_word() {
    for (state, status) in [
        (NEW, Status::Authorised),
        (DECLINED, Status::Declined),
        (VOIDED, Status::Voided),
        (taken(400, 0), Status::Captured),
        (taken(400, 399), Status::Captured),
        (taken(400, 400), Status::Refunded),
    ] {
        assert_eq!(state.status(), status);
    }
}

#[test]
fn a_currency_is_three_upper_case_letters() {
    for (text, good) in [("EUR", true), ("eur", false), ("EU", false), ("EURO", false), ("E1R", false), ("É€", false)] {
        assert_eq!(Currency::parse(text).is_some(), good, "{text}");
    }
}

#[test]
fn other_requests_have_another_canonical_text() {
    let id = Uuid::nil();
    let mut texts: Vec<_> = [
        Command::Capture { id, amount: 1 },
        Command::Capture { id, amount: 2 },
        Command::Capture { id: Uuid::max(), amount: 1 },
        Command::Refund { id, amount: 1 },
        Command::Void { id },
    ]
    .iter()
    .map(Command::canonical)
    .collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 5);
}
