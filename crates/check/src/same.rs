//! Deciding the same once more must give the same.

use farandole::engine::Net;

use crate::actor::Ran;
use crate::fault::Fault;
use crate::state::Changed;

/// So many characters of what differs are told.
const TOLD: usize = 160;

impl Ran {
    /// Compares with deciding again.
    pub fn same(&self, then: &Self) -> Result<(), Fault> {
        let undetermined = |what: &str, first: String, then: String| {
            let (first, then) = cut(&first, &then);
            Err(Fault::Undetermined { first: format!("{what}{first}"), then: format!("{what}{then}") })
        };
        for (i, (a, b)) in self.events.iter().zip(&then.events).enumerate() {
            if a.payload != b.payload || a.kind != b.kind || a.text != b.text {
                // What is masked in words differs in the value.
                let text = |ran: &Self, other: &Self| match &ran.events[i] {
                    event if event.text == other.events[i].text => String::from_utf8_lossy(&event.payload).into_owned(),
                    event => event.text.clone(),
                };
                return undetermined("", text(self, then), text(then, self));
            }
        }
        let kinds = |ran: &Self| format!("{:?}", ran.events.iter().map(|event| &event.text).collect::<Vec<_>>());
        if self.events.len() != then.events.len() {
            return undetermined("", kinds(self), kinds(then));
        }
        let verdicts = (format!("{:?}", self.verdict), format!("{:?}", then.verdict));
        if verdicts.0 != verdicts.1 {
            return undetermined("", verdicts.0, verdicts.1);
        }
        let row = |(table, key, row): &Changed| format!("{table}[{key}] {row:?}");
        for (a, b) in self.rows.iter().zip(&then.rows) {
            let same = match (&a.2, &b.2) {
                (Some(a), Some(b)) => a.equals(&**b),
                (a, b) => a.is_none() && b.is_none(),
            };
            let (words, then) = (row(a), row(b));
            if !same || words != then {
                return undetermined("", words, then);
            }
        }
        let rows = |ran: &Self| format!("{:?}", ran.rows.iter().map(row).collect::<Vec<_>>());
        if self.rows.len() != then.rows.len() {
            return undetermined("rows ", rows(self), rows(then));
        }
        let tasks = |net: &Net| format!("{net:?}");
        if tasks(&self.net) != tasks(&then.net) {
            return undetermined("tasks ", tasks(&self.net), tasks(&then.net));
        }
        Ok(())
    }
}

/// Both texts about where they differ.
fn cut(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = if a.chars().count().max(b.chars().count()) <= TOLD { 0 } else { same.saturating_sub(TOLD / 4) };
    let part = |text: &str| {
        let more = text.chars().count() > from + TOLD;
        let part: String = text.chars().skip(from).take(TOLD).collect();
        format!("{}{part}{}", if from > 0 { "…" } else { "" }, if more { "…" } else { "" })
    };
    (part(a), part(b))
}
