//! What of the shop can be harmed, and how.

use std::sync::Arc;

use demo::shop::{CORE, STANDINS};

use crate::plan::{Harm, Shape};
use crate::target::{Subject, Target};

/// Brokers: with one away, two are enough to write.
pub const BROKERS: u8 = 3;

const ON_DOORS: [Harm; 5] = [Harm::Cut, Harm::Freeze, Harm::LoseAnswers, Harm::Forget, Harm::Slow];
const ON_SERVICES: [Harm; 6] = [Harm::Kill, Harm::Stop, Harm::Pause, Harm::Strays, Harm::Markers, Harm::SetBack];
const ON_STANDINS: [Harm; 4] = [Harm::Kill, Harm::Stop, Harm::Pause, Harm::Absurd];
const ON_SPARES: [Harm; 2] = [Harm::Join, Harm::JoinAndDie];
const ON_SERVERS: [Harm; 3] = [Harm::Kill, Harm::Stop, Harm::Pause];
const ON_POSTGRES: [Harm; 5] = [Harm::Kill, Harm::Stop, Harm::Abort, Harm::Pause, Harm::ReadOnly];

/// The name of a service's second replica.
pub fn spare(service: &str) -> String {
    format!("{service}-2")
}

/// A broker's name.
pub fn broker(n: usize) -> String {
    format!("kafka-{n}")
}

/// Puts a subject under its name among the targets.
pub fn harm(targets: &mut Vec<Target>, name: &str, subject: Arc<dyn Subject>) {
    let shape = all().into_iter().find(|shape| shape.name == name);
    targets.extend(shape.map(|shape| Target::new(shape, subject)));
}

/// All that can be harmed.
pub fn all() -> Vec<Shape> {
    let shape = |name: String, harms: &[Harm]| Shape::new(name, harms);
    let mut all = vec![shape("postgres".into(), &ON_POSTGRES)];
    all.extend(STANDINS.map(|name| shape(name.into(), &ON_STANDINS)));
    for service in CORE {
        all.push(shape(service.into(), &ON_SERVICES));
        all.push(shape(spare(service), &ON_SPARES).spare_of(service));
        all.push(shape(format!("{service}/postgres"), &ON_DOORS));
    }
    for n in 1..=usize::from(BROKERS) {
        // A broker that can't be reached counts as away: the partitions that it leads wait.
        all.push(shape(broker(n), &ON_SERVERS).group("kafka"));
        all.push(shape(format!("services/{}", broker(n)), &ON_DOORS).group("kafka"));
    }
    all.push(shape("registry".into(), &[Harm::Pause, Harm::LoseAll]));
    all.push(shape("services/registry".into(), &[Harm::Cut, Harm::Freeze, Harm::RefuseOne]));
    for way in ["payments/acquirer", "shipping/carrier", "carrier/shipping"] {
        all.push(shape(way.into(), &ON_DOORS));
    }
    all.push(shape("clients/orders".into(), &ON_DOORS));
    all.push(shape("clients/inventory".into(), &[Harm::Cut, Harm::LoseAnswers]));
    all
}
