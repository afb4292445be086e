//! What is called how.

use strange::com::acme::billing::{
    Address, CommonAddress, Currency, InvoicePaid, InvoicePaidAmount, InvoiceSent, Money, Option as Choice,
};
use strange::order_events_v1::{Vec as Vector, avro_serde, line, order_placed};
use strange::{EVENTS, Ping};

#[test]
fn names_are_the_schemas_own_as_far_as_rust_lets_them() {
    let address = Address { street: "Main St".into(), option: Choice { string: "x".into() } };
    let paid = InvoicePaid {
        invoice_id: uuid::Uuid::nil(),
        r#type: "t".into(),
        self_: true,
        r#match: Some(1),
        foo_bar: 2,
        foo_bar_: 3,
        url_of_pdf: None,
        bill_to: address.clone(),
        ship_to: Some(CommonAddress { lines: vec![] }),
        copy_to: vec![address],
        amount: InvoicePaidAmount::Money(Money { units: vec![1], currency: Currency::Eur_ }),
    };
    let json = serde_json::json!({
        "invoiceId": "00000000-0000-0000-0000-000000000000", "type": "t", "self": true, "match": 1, "fooBar": 2, "foo_bar": 3,
        "URLOfPDF": null, "billTo": {"street": "Main St", "Option": {"String": "x"}}, "shipTo": {"lines": []},
        "copyTo": [{"street": "Main St", "Option": {"String": "x"}}],
        "amount": {"com.acme.billing.Money": {"units": [1], "currency": "eur"}},
    });
    assert_eq!(serde_json::to_value(&paid).unwrap(), json);
    assert_eq!(serde_json::from_value::<InvoicePaid>(json).unwrap(), paid);
    let placed = order_placed {
        lines: vec![line { sku: "TEA".into(), count: 1 }],
        vec: Vector { ok: "".into() },
        avro_serde: avro_serde { bytes: vec![] },
    };
    assert_eq!(placed.lines.len(), 1);
}

#[test]
fn topics_are_folders_or_what_was_said() {
    let named = |name: &str| EVENTS.iter().find(|(_, known, _)| *known == name).unwrap().0;
    assert_eq!(EVENTS.len(), 4, "an enum is no event");
    assert_eq!((Ping::TOPIC, Ping::NAME), ("pings", "Ping"));
    assert_eq!((InvoicePaid::TOPIC, InvoicePaid::NAME), ("acme.billing-events", "com.acme.billing.InvoicePaid"));
    assert_eq!(InvoiceSent::TOPIC, named("com.acme.billing.InvoiceSent"));
    assert_eq!(named("shop.order_placed"), "order-events.v1");
    assert!(order_placed::SCHEMA.starts_with("{\"type\": \"record\""));
}
