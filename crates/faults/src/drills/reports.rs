//! The carrier's reports to shipping, as the front between them sees them: which were taken, so that the carrier can be asked for those
//! again that were lost. They have no `Idempotency-Key`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::HeaderMap;
use reqwest::StatusCode;

use super::callers::Callers;
use super::front::{Exchange, Witness};

/// How long a report is kept: a little less than shipping takes its timestamp for one of now (5 minutes).
const KEPT: Duration = Duration::from_secs(280);

/// Those that were taken.
#[derive(Debug)]
pub struct Reports {
    callers: Arc<Callers>,
    taken: Mutex<VecDeque<Report>>,
}

/// A report as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    at: Instant,
}

impl Reports {
    /// How fast they are answered is told with what `callers` see.
    pub fn new(callers: Arc<Callers>) -> Self {
        Self { callers, taken: Mutex::default() }
    }

    /// Those that were taken since, oldest first.
    pub fn since(&self, since: Instant) -> Vec<Report> {
        self.lock().iter().filter(|report| report.at >= since).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Report>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Reports {
    fn seen(&self, exchange: &Exchange) {
        let is_taken = exchange.status.is_some_and(|status| status.is_success());
        // Forged ones and those of long ago are refused.
        self.callers.note(exchange, is_taken || exchange.status == Some(StatusCode::UNAUTHORIZED));
        if is_taken {
            let Exchange { path, headers, body, at, .. } = exchange;
            let taken = &mut *self.lock();
            taken.push_back(Report { path: path.clone(), headers: headers.clone(), body: body.clone(), at: *at });
            while taken.front().is_some_and(|report| report.at.elapsed() > KEPT) {
                taken.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;

    /// A taken one is kept as it came; a refused one isn't, and only a forged one is refused as usual.
    #[test]
    fn what_was_taken_can_be_sent_again() {
        let began = Instant::now();
        let reports = Reports::new(Arc::default());
        for (n, status) in [(1, 200), (2, 401), (3, 409)] {
            let headers = HeaderMap::from_iter([("webhook-id".parse().unwrap(), n.into())]);
            let (body, answer) = (Bytes::from("{}"), Bytes::new());
            let (path, status) = ("/carrier/reports".to_owned(), StatusCode::from_u16(status).ok());
            let took = Duration::from_millis(1);
            reports.seen(&Exchange { method: Method::POST, path, key: None, headers, body, at: began, took, status, answer });
        }
        let taken = reports.since(began);
        assert_eq!(taken.iter().map(|report| &report.headers["webhook-id"]).collect::<Vec<_>>(), ["1"]);
        assert_eq!(reports.since(Instant::now()), []);
        let answers = reports.callers.answers(began);
        assert_eq!((answers.count, answers.unusual.len(), reports.callers.ledger().failed.len()), (3, 1, 0), "{answers:?}");
    }
}
