//! The proxies between the shop's processes and what they need.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use demo::shop::Parts;
use stage::Stage;

use super::servers;
use super::shapes::{BROKERS, NOTIFICATIONS, broker, harm};
use crate::proxy::Door;
use crate::target::{Part, Target};

/// The proxies, before anything is behind them.
pub struct Doors {
    pub kafka: Vec<Arc<Door>>,
    postgres: BTreeMap<&'static str, Arc<Door>>,
    pub registry: Arc<Door>,
    acquirer: Arc<Door>,
    carrier: Arc<Door>,
    /// Before the mail server; none if there is none.
    mail: Option<Arc<Door>>,
    pub orders: Arc<Door>,
    pub inventory: Arc<Door>,
    /// By which the carrier reports.
    pub shipping: Arc<Door>,
}

impl Doors {
    pub async fn open(services: &[&'static str]) -> anyhow::Result<Self> {
        let door = async || anyhow::Ok(Arc::new(Door::open().await?));
        let mut postgres = BTreeMap::new();
        for service in services {
            postgres.insert(*service, door().await?);
        }
        let mut kafka = Vec::new();
        for _ in 0..BROKERS {
            kafka.push(door().await?);
        }
        let mail = if services.contains(&NOTIFICATIONS) { Some(door().await?) } else { None };
        let [registry, acquirer, carrier] = [door().await?, door().await?, door().await?];
        let [orders, inventory, shipping] = [door().await?, door().await?, door().await?];
        Ok(Self { kafka, postgres, registry, acquirer, carrier, mail, orders, inventory, shipping })
    }

    /// `parts` as they are seen through the proxies.
    pub fn before(&self, parts: &Parts) -> Parts {
        let mut seen = parts.clone();
        seen.kafka = self.kafka.iter().map(|door| door.address()).collect::<Vec<_>>().join(",");
        let through = |url: &str, door: &Door| {
            door.lead_to([authority(url).to_owned()]);
            url.replace(authority(url), &door.address())
        };
        seen.registry = through(&parts.registry, &self.registry);
        if let Some(mail) = &self.mail {
            seen.smtp = through(&parts.smtp, mail);
        }
        for (service, database) in &mut seen.databases {
            if let Some(door) = self.postgres.get(service) {
                database.url = through(&database.url, door);
            }
        }
        seen
    }

    /// Before what is outside the shop.
    pub fn to_standin(&self, name: &str) -> &Arc<Door> {
        if name == "carrier" { &self.carrier } else { &self.acquirer }
    }

    /// Before a service; none if nobody calls it.
    pub fn to_service(&self, service: &str) -> Option<&Arc<Door>> {
        match service {
            "orders" => Some(&self.orders),
            "inventory" => Some(&self.inventory),
            "shipping" => Some(&self.shipping),
            _ => None,
        }
    }

    /// Puts brokers, PostgreSQL, the mail server, and the ways to them and to all others, among the targets.
    pub fn harm(&self, targets: &mut Vec<Target>, stage: &Arc<Stage>) {
        let postgres =
            servers::Postgres { stage: Arc::clone(stage), part: Part::new(stage, "postgres"), times: AtomicU32::new(0) };
        harm(targets, "postgres", Arc::new(postgres));
        for (n, door) in (1..).zip(&self.kafka) {
            harm(targets, &broker(n), Arc::new(Part::new(stage, &broker(n))));
            harm(targets, &format!("services/{}", broker(n)), Arc::<Door>::clone(door));
        }
        for (service, door) in &self.postgres {
            harm(targets, &format!("{service}/postgres"), Arc::<Door>::clone(door));
        }
        for (way, door) in [
            ("payments/acquirer", &self.acquirer),
            ("shipping/carrier", &self.carrier),
            ("carrier/shipping", &self.shipping),
            ("clients/orders", &self.orders),
            ("clients/inventory", &self.inventory),
        ] {
            harm(targets, way, Arc::<Door>::clone(door));
        }
        if let Some(door) = &self.mail {
            harm(targets, "mail", Arc::new(Part::new(stage, "mail")));
            harm(targets, "notifications/mail", Arc::<Door>::clone(door));
        }
    }
}

/// `host:port` of a URL.
pub fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}
