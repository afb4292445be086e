//! What is logged at WARN and above by all tests of this program: each looks for names of its own.

use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        LINES.lock().unwrap().push(words.0);
    }
}

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

/// From here on lines are kept.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Lines.with_filter(LevelFilter::WARN));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// The lines that hold all of these.
pub fn lines(with: &[&str]) -> Vec<String> {
    LINES.lock().unwrap().iter().filter(|line| with.iter().all(|words| line.contains(words))).cloned().collect()
}
