//! A scrape in the making.

use crate::run::Durations;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

const DISTINCT: &str = "names are written out here, valid and distinct";

/// Collects the metrics of one scrape.
#[derive(Default)]
pub(super) struct Sheet(Registry);

impl Sheet {
    /// Values that go up and down.
    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let gauges = GaugeVec::new(Opts::new(name, help), labels).expect(DISTINCT);
        self.0.register(Box::new(gauges.clone())).expect(DISTINCT);
        gauges
    }

    /// Counts that only grow.
    pub(super) fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels).expect(DISTINCT);
        self.0.register(Box::new(counters.clone())).expect(DISTINCT);
        counters
    }

    /// The histograms of a job, which are kept elsewhere.
    pub(super) fn histograms(&mut self, of_job: &Durations) {
        for collector in of_job.collectors() {
            // Jobs of one name, which one process does not have, would be refused here: the first is shown.
            let _ = self.0.register(collector);
        }
    }

    /// The text; metrics without a value are left out.
    pub(super) fn text(self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.gather())
    }
}
