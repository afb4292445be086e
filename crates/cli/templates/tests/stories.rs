//! What is decided, told as stories: without servers, in milliseconds.

use std::time::Duration;

use farandole::testing::Story;
use farandole::{Task, Timestamp, rows};
use uuid::Uuid;

use {{crate}}::Items;
use {{crate}}::events::{{crate}}::{ItemAdded, ItemExpired};
use {{crate}}::participant::{Command, Deadline, Item, Tables};

const ID: Uuid = Uuid::from_u128(7);
const HOUR: i64 = 3_600_000_000;

fn story() -> Story<Items> {
    Story::new(
        Items {
            expires_after: Duration::from_secs(3600),
        },
        ID,
        rows![Tables; items: Item[ID]],
    )
}

fn add(label: &str) -> Command {
    Command::Add {
        label: label.to_owned(),
    }
}

#[test]
fn an_item_expires_once_its_time_is_over() {
    let mut story = story();
    let added = ItemAdded {
        item_id: ID,
        label: "tea".to_owned(),
        added_at: 0,
        expires_at: HOUR,
    };
    let due = Task::deadline(Deadline::Expire, Timestamp::from_micros(HOUR));
    story.asked(add("tea")).then([added]).tasks([due]);
    story.at = Timestamp::from_micros(HOUR);
    story.due(Deadline::Expire).then([ItemExpired {
        item_id: ID,
        expired_at: HOUR,
    }]);
    assert_eq!(
        story.tables.items.get(&ID).map(|item| item.expired),
        Some(true)
    );
}

#[test]
fn an_item_says_what_it_is() {
    story().asked(add(" ")).refused("invalid-request");
}
