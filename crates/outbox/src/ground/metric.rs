//! Metrics, each declared once: what records one and what describes it to an operator are made from the same line.

use metrics::{Label, SharedString};

/// How a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// What is now.
    Gauge,
    /// How often which size.
    Histogram,
}

/// What is said of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As it is exported.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// What one is.
    pub unit: &'static str,
    /// Names of its labels, in order.
    pub labels: &'static [&'static str],
    /// For an operator.
    pub what: &'static str,
}

impl Metric {
    fn labelled<const N: usize>(&self, values: [SharedString; N]) -> Vec<Label> {
        self.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value)).collect()
    }
}

/// A counter with `N` labels.
#[derive(Debug)]
pub struct Counter<const N: usize>(pub Metric);

impl<const N: usize> Counter<N> {
    /// The counter under these values of its labels.
    pub fn of(&self, values: [SharedString; N]) -> metrics::Counter {
        metrics::counter!(self.0.name, self.0.labelled(values))
    }

    /// Adds to it.
    pub fn add(&self, more: u64, values: [SharedString; N]) {
        self.of(values).increment(more);
    }
}

/// A gauge with `N` labels.
#[derive(Debug)]
pub struct Gauge<const N: usize>(pub Metric);

impl<const N: usize> Gauge<N> {
    /// The gauge under these values of its labels.
    pub fn of(&self, values: [SharedString; N]) -> metrics::Gauge {
        metrics::gauge!(self.0.name, self.0.labelled(values))
    }

    /// Sets it.
    pub fn set(&self, now: f64, values: [SharedString; N]) {
        self.of(values).set(now);
    }
}

/// A histogram with `N` labels.
#[derive(Debug)]
pub struct Histogram<const N: usize>(pub Metric);

impl<const N: usize> Histogram<N> {
    /// Records a size; of a duration, in seconds.
    pub fn record(&self, size: impl metrics::IntoF64, values: [SharedString; N]) {
        metrics::histogram!(self.0.name, self.0.labelled(values)).record(size);
    }
}

/// Declares metrics: `CONSTANT: Kind "name" "unit" ["label", …];` below the line that tells an operator what it says. Besides the
/// constants there is `ALL` of them.
#[doc(hidden)]
#[macro_export]
macro_rules! declare_metrics {
    ($($(#[doc = $what:literal])+ $constant:ident: $kind:ident $name:literal $unit:literal [$($label:literal),*];)+) => {
        $(
            $(#[doc = $what])+
            pub(crate) const $constant: $crate::ground::metric::$kind<{ <[&str]>::len(&[$($label),*]) }> =
                $crate::ground::metric::$kind($crate::ground::metric::Metric {
                    name: $name,
                    kind: $crate::ground::metric::Kind::$kind,
                    unit: $unit,
                    labels: &[$($label),*],
                    what: concat!($($what),+).trim_ascii_start(),
                });
        )+

        /// All of the above, for whoever describes them: a service does.
        #[allow(dead_code)]
        pub const ALL: &[$crate::ground::metric::Metric] = &[$($constant.0),+];
    };
}

#[doc(hidden)]
pub use declare_metrics as declare;
