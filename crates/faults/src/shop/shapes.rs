//! What of the shop can be harmed, and how.

use std::sync::Arc;

use demo::shop::{SERVICES, STANDINS};

use crate::plan::{Harm, Shape};
use crate::target::{Subject, Target};

/// The service without which there are no mails, and without a mail server nothing to do for it.
pub const NOTIFICATIONS: &str = "notifications";
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

/// Puts a subject under its name among the targets; one that isn't harmed in this shop is left out.
pub fn harm(targets: &mut Vec<Target>, name: &str, subject: Arc<dyn Subject>) {
    let shape = all(&SERVICES).into_iter().find(|shape| shape.name == name);
    targets.extend(shape.map(|shape| Target::new(shape, subject)));
}

/// All that can be harmed where these services take part. Without notifications nobody sends mails.
pub fn all(services: &[&str]) -> Vec<Shape> {
    // No order waits for a mail.
    let shape = |name: String, harms: &[Harm]| {
        let is_aside = name.starts_with(NOTIFICATIONS) || name == "mail";
        if is_aside { Shape::new(name, harms).aside() } else { Shape::new(name, harms) }
    };
    let mut all = vec![shape("postgres".into(), &ON_POSTGRES)];
    all.extend(STANDINS.map(|name| shape(name.into(), &ON_STANDINS)));
    for service in services.iter().copied() {
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
    if services.contains(&NOTIFICATIONS) {
        all.push(shape("mail".into(), &ON_SERVERS));
        all.push(shape("notifications/mail".into(), &ON_DOORS));
    }
    all
}

#[cfg(test)]
mod tests {
    use demo::shop::CORE;

    use super::*;

    /// Nothing but notifications needs the mail server, and nobody needs notifications.
    #[test]
    fn who_sends_mails_is_aside_and_who_takes_orders_is_not() {
        let names = |services: &[&str]| all(services).into_iter().map(|shape| (shape.name, shape.is_aside)).collect::<Vec<_>>();
        let (with, without) = (names(&SERVICES), names(&CORE));
        assert!(without.iter().all(|(_, is_aside)| !is_aside), "{without:?}");
        let others: Vec<_> = with.iter().filter(|shape| !without.contains(shape)).collect();
        assert!(others.iter().all(|(_, is_aside)| *is_aside), "{others:?}");
        let names: Vec<_> = others.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["notifications", "notifications-2", "notifications/postgres", "mail", "notifications/mail"]);
    }
}
