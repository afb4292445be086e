//! Reads everything back and has it checked.

use explore::live;
use farandole::record::Record;
use farandole_check::Recording;

use crate::check::Check;
use crate::facts::Facts;
use crate::invariants::Read;
use crate::sources::Sources;
use crate::{allowed, books, tables, topics};

/// An audit: what was found, and what was checked.
#[derive(Debug)]
pub struct Audit {
    pub facts: Facts,
    pub checks: Vec<Check>,
    /// Where records are that aren't the shop's.
    pub strays: Vec<String>,
    /// What ran.
    pub recording: Recording,
}

impl Audit {
    /// Whether everything that was checked is true.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|c| c.violations == 0)
    }
}

/// Reads everything back and checks it.
///
/// # Errors
/// When it can't be read.
pub async fn audit(shop: &Sources) -> anyhow::Result<Audit> {
    let mut audit = audit_with(shop, |_| {}).await?;
    let mut alone = Check::new("no record is another's");
    alone.checked = usize::try_from(audit.facts.events).unwrap_or(usize::MAX);
    std::mem::take(&mut audit.strays).into_iter().for_each(|stray| alone.that(false, || stray));
    audit.checks.push(alone);
    audit.checks.push(unparked(&audit.recording));
    Ok(audit)
}

/// What parks is at fault, or who reads it is; it may have been released since. Here nobody sends what is.
fn unparked(recording: &Recording) -> Check {
    let mut check = Check::new("no input had to be parked on the way");
    for (service, parked) in &recording.parked {
        parked.iter().for_each(|input| check.that(false, || format!("{service} parked {input}: its log says why")));
        check.checked += 1;
    }
    check
}

/// As [`audit`], but for records that aren't the shop's: those are told of. `see` is shown every record that a consumer would apply,
/// partition by partition in order.
///
/// # Errors
/// When it can't be read.
pub async fn audit_with(shop: &Sources, mut see: impl FnMut(&Record)) -> anyhow::Result<Audit> {
    let codec = farandole::Codec::new(&shop.registry, shop.pool("orders").await?);
    codec.add_reader_schema(<topics::Event as farandole::Message>::TYPES)?;
    let mut facts = Facts::default();
    let (mut faults, mut strays) = (Vec::new(), Vec::new());
    let (mut recording, mut unreadable) = (Recording::default(), Vec::new());
    for topic in shop.services() {
        let each = |record: &Record, at, event| {
            see(record);
            if let Err(error) = live::record(&mut recording, topic, record, &codec) {
                unreadable.push(error.to_string());
            }
            facts.add(at, event);
        };
        let wrong = topics::read(&shop.kafka, &shop.prefix, topic, &codec, each).await?;
        faults.extend(wrong.faults);
        strays.extend(wrong.strays);
    }
    faults.append(&mut unreadable);
    let held = tables::read(shop).await?;
    let open = tables::open_matters(shop).await?;
    let client = reqwest::Client::new();
    let cards = books::cards(&client, &shop.acquirer).await?;
    let parcels = books::parcels(&client, &shop.carrier).await?;
    let caught = match &shop.mail {
        Some(catcher) => books::mails(&client, catcher).await?,
        None => None,
    };
    let mut chains = Check::new("every partition is a whole chain of readable events");
    chains.checked = usize::try_from(facts.events).unwrap_or(usize::MAX);
    faults.append(&mut facts.faults);
    for fault in faults {
        chains.that(false, || fault);
    }
    let mut rest = Check::new("nothing is open or parked");
    rest.that(open.is_empty(), || open.join(", "));
    let mut checks = vec![chains, rest];
    let read = Read { facts: &facts, held: &held, cards: &cards, parcels: &parcels, caught: caught.as_ref() };
    checks.extend(read.checks());
    if shop.databases.contains_key("notifications") {
        checks.push(read.told());
    }
    let (allowed, recording) = allowed::check(shop, recording).await?;
    checks.extend(allowed);
    Ok(Audit { facts, checks, strays, recording })
}
