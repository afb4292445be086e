//! Messages arrive signed and in order, whatever becomes of subscribers and of the service.

use std::collections::HashSet;
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use crate::subscriber::Subscriber;
use crate::world::{LIFE, World, eventually};

const ANNA: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BEN: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const CLEO: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgY2xlbydz";

/// All of these orders' messages are there, each order's in order.
async fn hears(subscriber: &Subscriber, orders: &[String]) {
    eventually("all messages to arrive", async || orders.iter().all(|order| subscriber.of(order).len() >= LIFE.len())).await;
    for order in orders {
        assert_eq!(subscriber.of(order), LIFE, "order {order}");
    }
}

fn states(page: &Value) -> Vec<(String, String)> {
    let text = |delivery: &Value, field: &str| delivery[field].as_str().unwrap().to_owned();
    let orders = page["orders"].as_array().unwrap().iter();
    let deliveries = orders.flat_map(|order| order["deliveries"].as_array().unwrap());
    deliveries.map(|delivery| (text(delivery, "type"), text(delivery, "state"))).collect()
}

/// Guard: an order's messages wait for one another, an order's for no other's, and a subscriber's for no other's; what was under way when the
/// process died is sent again. And nobody finds a secret in what the service writes.
#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_whatever_happens() {
    // What a process leaves behind is taken up once its claims have run out.
    let mut world = World::new(&[("FARANDOLE_AGENDA_TIMEOUT", "6s"), ("FARANDOLE_AGENDA_LEASE", "8s")]).await;
    let (anna, cleo) = (Subscriber::listen(ANNA).await, Subscriber::listen(CLEO).await);
    world.subscribe(&anna).await;
    let dead = world.register("http://127.0.0.1:9/", BEN).await;
    world.subscribe(&cleo).await;

    // One is dead, one is down: the third hears everything at once.
    cleo.set_up(false);
    let began = Instant::now();
    let first = world.live(40).await;
    hears(&anna, &first).await;
    println!("{} messages beside one subscriber that is dead and one that is down: {:?}", 4 * first.len(), began.elapsed());
    assert!(cleo.taken().is_empty());

    // Killed while messages are under way: they were taken, and nobody was told.
    anna.hold(true);
    let second = world.live(30).await;
    eventually("messages to be under way", async || anna.taken().len() >= 4 * first.len() + second.len()).await;
    world.kill();
    anna.hold(false);
    let while_down = world.live(30).await;
    world.start().await;
    let began = Instant::now();
    hears(&anna, &second).await;
    hears(&anna, &while_down).await;
    println!("after the kill everything arrived within {:?}", began.elapsed());
    let ids: Vec<String> = anna.taken().into_iter().map(|(id, _)| id).collect();
    assert!(ids.iter().collect::<HashSet<_>>().len() < ids.len(), "what nobody was told of is sent again, under its id");

    // The one that was down is back, and hears everything, in order.
    cleo.set_up(true);
    let began = Instant::now();
    hears(&cleo, &first).await;
    hears(&cleo, &second).await;
    hears(&cleo, &while_down).await;
    println!("what had waited arrived within {:?}", began.elapsed());

    // The dead one's are pending, until it is removed.
    let path = format!("/subscriptions/{dead}/deliveries");
    let pending = world.get(&format!("{path}?state=pending&limit=1")).await;
    let expected = ["sending", "waiting", "waiting", "waiting"];
    assert_eq!(states(&pending).into_iter().map(|(_, state)| state).collect::<Vec<_>>(), expected);
    let next = pending["next"].as_str().unwrap();
    assert_eq!(states(&world.get(&format!("{path}?state=pending&limit=1&after={next}")).await).len(), 4);
    assert_eq!(world.ask(Method::DELETE, &format!("/subscriptions/{dead}"), None, None).await.0, 204);
    assert_eq!(world.ask(Method::DELETE, &format!("/subscriptions/{dead}"), None, None).await.0, 204);
    assert_eq!(world.get(&format!("/subscriptions/{dead}")).await["state"], "removed");
    eventually("what is pending to be dropped", async || {
        states(&world.get(&format!("{path}?state=pending&limit=1")).await).is_empty()
    })
    .await;
    assert!(states(&world.get(&format!("{path}?limit=200")).await).iter().all(|(_, state)| state == "dropped"));
    let third = world.live(5).await;
    hears(&anna, &third).await;

    // The tables are what the topic makes of them.
    let (well, said) = world.tell(&["rebuild", "--verify"]).await;
    assert!(well && said.contains("rows, equal"), "{said}");
    let (_, parked) = world.tell(&["parked", "--output", "json"]).await;
    assert!(!parked.contains("reason"), "{parked}");
    let written = world.written().await;
    let is_there = |what: &[u8]| written.windows(what.len()).any(|window| window == what);
    assert!(is_there(b"order.placed") && is_there(anna.url.as_bytes()), "this finds what is there");
    for secret in [ANNA, BEN, CLEO] {
        assert!(!is_there(&secret.as_bytes()["whsec_".len()..]), "{secret} is written somewhere");
    }
    assert!(!is_there(b"tok_of_a_card"), "a card's token is written somewhere");
    assert!(!world.said().contains("shop=1"), "an address is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_dead_and_can_be_tried_again() {
    let world = World::new(&[("FARANDOLE_OWN_GIVE_UP_AFTER", "2s")]).await;
    let anna = Subscriber::listen(ANNA).await;
    let id = world.subscribe(&anna).await;
    anna.set_up(false);
    let [order] = world.live(1).await.try_into().unwrap();
    let path = format!("/subscriptions/{id}/deliveries");
    // The first is given up, and the next goes on.
    eventually("one to be dead", async || !states(&world.get(&format!("{path}?state=dead")).await).is_empty()).await;
    anna.set_up(true);
    eventually("the others to arrive", async || anna.of(&order).len() >= 3).await;
    let dead = world.get(&format!("{path}?state=dead")).await;
    let delivery = &dead["orders"][0]["deliveries"][0];
    assert_eq!((&delivery["type"], &delivery["state"]), (&"order.placed".into(), &"dead".into()));
    assert_eq!(delivery["reason"], "HTTP 503: we are down for a moment");
    assert!(world.said().contains("a message is dead"), "it is logged");
    let retry = format!("{path}/{order}/{}/retry", delivery["message_id"].as_str().unwrap());
    assert_eq!(world.ask(Method::POST, &retry, None, None).await.0, 202);
    eventually("it to arrive", async || anna.of(&order).len() == 4).await;
    eventually("none to be dead", async || states(&world.get(&format!("{path}?state=dead")).await).is_empty()).await;
    let (status, problem) = world.ask(Method::POST, &retry, None, None).await;
    assert_eq!((status, &problem["type"]), (409, &"/problems/already-delivered".into()));
    assert_eq!(world.ask(Method::POST, &format!("{path}/{order}/msg_none/retry"), None, None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_taken_once_and_its_secret_never_given_back() {
    let world = World::new(&[]).await;
    let body = |secret: &str| json!({ "url": "https://shop.example/hooks", "types": ["order.completed", "order.placed"], "secret": secret });
    let register = async |key: Option<&str>, body: Value| world.ask(Method::POST, "/subscriptions", key, Some(body)).await;
    let (status, first) = register(Some("k1"), body(ANNA)).await;
    assert_eq!((status, &first["types"]), (201, &json!(["order.placed", "order.completed"])), "{first}");
    // Sent again, it is the same request; with another secret another.
    assert_eq!(register(Some("k1"), body(ANNA)).await, (201, first.clone()));
    assert_eq!(register(Some("k1"), body(BEN)).await.0, 422);
    let id = first["subscription_id"].as_str().unwrap();
    assert_eq!(world.get(&format!("/subscriptions/{id}")).await, first);
    assert_eq!(world.get("/subscriptions").await, json!({ "subscriptions": [first], "next": null }));
    assert!(!first.to_string().contains("MfKQ9r8"));

    for (field, wrong) in [
        ("url", json!("http://10.0.0.1/")),
        ("url", json!("https://[::ffff:169.254.169.254]/")),
        ("types", json!([])),
        ("types[0]", json!(["order.lost"])),
        ("secret", json!("whsec_c2hvcnQ=")),
        ("secret", json!(17)),
    ] {
        let mut asked = body(ANNA);
        asked[field.split('[').next().unwrap()] = wrong;
        let (status, problem) = register(None, asked).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &field.into()), "{problem}");
        assert!(!problem.to_string().contains("c2hvcnQ"), "{problem}");
    }
    for _ in 1..100 {
        assert_eq!(register(None, body(ANNA)).await.0, 201);
    }
    let (status, problem) = register(None, body(ANNA)).await;
    assert_eq!((status, &problem["type"]), (409, &"/problems/too-many-subscriptions".into()));
    let page = world.get("/subscriptions?limit=60").await;
    let next = page["next"].as_str().unwrap();
    let rest = world.get(&format!("/subscriptions?limit=60&after={next}")).await;
    assert_eq!((rest["subscriptions"].as_array().unwrap().len(), &rest["next"]), (40, &Value::Null));
    assert_eq!(world.ask(Method::DELETE, &format!("/subscriptions/{id}"), None, None).await.0, 204);
    assert_eq!(register(None, body(ANNA)).await.0, 201, "there is a place again");
}
