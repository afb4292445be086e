//! The shop's speed, small: what is counted, not how fast it was.

use serde_json::Value;

use crate::bench;

/// Orders a second, seconds before and in the window.
const RATE: u64 = 20;
const WARM_UP: u64 = 2;
const SECONDS: u64 = 5;

#[test]
fn every_order_is_confirmed_once_and_its_way_is_known() {
    let [rate, warm_up, seconds] = [RATE, WARM_UP, SECONDS].map(|n| n.to_string());
    let lines = bench(&["saga", "--rate", &rate, "--warm-up", &warm_up, "--seconds", &seconds]);
    let names: Vec<_> = lines.iter().map(|line| line["measure"].as_str().unwrap()).collect();
    let expected = ["saga p50", "saga p99", "saga answer p50", "saga answer p99", "saga CPU", "saga memory", "saga placed"];
    assert_eq!(names, expected);
    let ours = &lines[0]["detail"]["ours"];
    // The run itself fails unless each of those placed is confirmed once and its card authorised once.
    let counts = ["placed", "refused", "held_back"].map(|name| ours[name].as_u64().unwrap());
    assert_eq!(counts, [RATE * (WARM_UP + SECONDS), 0, 0]);
    let counted = |of: &Value| of["times"]["n"].as_u64().unwrap();
    let latencies: Vec<u64> = ours["latencies"].as_array().unwrap().iter().map(counted).collect();
    assert_eq!(latencies, [RATE * SECONDS, RATE * SECONDS, RATE * SECONDS / 10], "two a second are looked at by HTTP");
    let hops = ours["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 14);
    assert!(hops.iter().all(|hop| counted(hop) == RATE * SECONDS), "{hops:?}");
    let mean = |hop: &Value| hop["times"]["mean_ms"].as_f64().unwrap();
    let parts: f64 = hops.iter().filter(|hop| hop["in_sum"] == true).map(mean).sum();
    let whole = mean(hops.last().unwrap());
    // Clocks have a grain, and what comes out below 0 counts as none.
    assert!((parts - whole).abs() < 5.0 + whole / 20.0, "{parts} ms add up to {whole} ms");
    for kind in ["OrderPlaced", "StockReserved", "PaymentRequested", "PaymentAuthorised", "OrderConfirmed"] {
        assert_eq!(ours["events_order"][kind], 1.0, "{kind}: {}", ours["events_order"]);
    }
    let processes = ours["processes"].as_array().unwrap();
    for name in ["orders", "inventory", "payments", "acquirer", "bench", "orders intake", "payments relay"] {
        assert!(processes.iter().any(|process| process["name"] == name), "{name} isn't among {processes:?}");
    }
}

/// The run itself fails unless as many are reserved as there are, by the topics and by inventory's database.
#[test]
fn of_many_buyers_as_many_get_one_as_there_are_pieces() {
    let lines = bench(&["hot-article", "--buyers", "300", "--runs", "1"]);
    let names: Vec<_> =
        lines.iter().map(|line| (line["measure"].as_str().unwrap(), line["peer_name"].as_str().unwrap())).collect();
    assert_eq!(names, [("hot-article decided", "100 articles"), ("hot-article settled", "100 articles")]);
    for line in &lines {
        let [ours, many] = line["runs"][0].as_array().unwrap().as_slice() else { panic!("{line}") };
        assert!(ours.as_f64().unwrap() > 0.0 && many.as_f64().unwrap() > 0.0, "{line}");
    }
}
