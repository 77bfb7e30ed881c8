//! When epochs open and close, and what is bound for them: decisions only, no effects (SEMANTICS 2 and 3).

use crate::chain::LastRead;
use crate::log::{PartitionBind, StreamBind};
use crate::plan::{Plan, StreamInput, WatermarkPlan};
use crate::record::{Offset, Partition, PartitionIndex};
use crate::time::{EventTime, Span, Version};
use crate::watermark::{Seen, StreamClock};
use crate::worker::PartitionReport;
use std::collections::BTreeMap;

/// An epoch that holds a record ends at the first tick.
pub const TICK: Span = Span::millis(100);
/// An epoch that holds none ends at last after this.
pub const EMPTY_EPOCH: Span = Span::seconds(1);
/// Epochs whose rows are not in the ledger.
pub const OPEN_EPOCHS_MAX: u64 = 64;

/// The two clocks, read by whoever drives the engine. Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since 1970: becomes versions.
    pub wall_us: i64,
    /// Running time that never jumps: rules waiting.
    pub running_us: i64,
}

/// The opening time of the next epoch.
pub fn opening_time(now: Now, previous: Version) -> Version {
    Version(now.wall_us.max(previous.0 + 1_000))
}

/// Whether the open epoch ends now.
pub fn ends(now: Now, opened_at_us: i64, records: u64) -> bool {
    let age = now.running_us - opened_at_us;
    age >= if records > 0 { TICK.0 } else { EMPTY_EPOCH.0 }
}

/// A source stream's partitions and its clock.
pub struct SourceStream {
    /// Position in the plan.
    pub stream: u32,
    /// By bound position: name, next offset as bound.
    pub partitions: Vec<(Partition, Offset)>,
    /// Its watermark.
    pub clock: StreamClock,
    /// By bound position: the last message that was read.
    pub last: Vec<Option<LastRead>>,
    /// Bound positions that were added since the last bind.
    pub added: usize,
    /// The latest reports, of epochs that may not be bound yet.
    pub reports: BTreeMap<PartitionIndex, PartitionReport>,
    idle: Vec<bool>,
    starts: Vec<Offset>,
}

impl SourceStream {
    /// A stream without partitions.
    pub fn new(stream: u32, watermark: WatermarkPlan) -> SourceStream {
        SourceStream {
            stream,
            partitions: Vec::new(),
            last: Vec::new(),
            clock: StreamClock::new(watermark),
            added: 0,
            reports: BTreeMap::new(),
            idle: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// Adds a partition that is not known yet; its bound position, or `None` if it is known.
    pub fn add(&mut self, partition: Partition, start: Offset) -> Option<PartitionIndex> {
        if self.partitions.iter().any(|(known, _)| *known == partition) {
            return None;
        }
        self.partitions.push((partition, start));
        self.last.push(None);
        self.clock.add_partition();
        self.idle.push(false);
        self.starts.push(start);
        self.added += 1;
        Some(PartitionIndex(self.partitions.len() as u32 - 1))
    }

    /// The first offset of a partition that is read.
    pub fn start(&self, at: usize) -> Offset {
        self.starts[at]
    }

    /// Notes which message was the last one of an epoch, bound now or before.
    pub fn note_last(&mut self, report: &PartitionReport) {
        if report.count > 0 {
            self.last[report.index.0 as usize] = Some(LastRead { before: report.before, hash: report.hash });
        }
    }

    /// Takes what workers saw, and says what is bound.
    pub fn bind(&mut self, reports: &[PartitionReport], now: Now) -> StreamBind {
        let mut bound = Vec::new();
        for report in reports.iter().filter(|report| report.stream == self.stream) {
            let at = report.index.0 as usize;
            self.clock.observe(at, Seen { newest: report.newest, quiet: report.quiet }, now.running_us);
            let idle = self.clock.idle(at);
            if report.count > 0 || idle != self.idle[at] {
                let (next, count, hash) = (report.next, report.count, report.hash);
                bound.push(PartitionBind { index: report.index, next, count, hash, newest: self.clock.newest(at), idle });
                self.partitions[at].1 = next;
                self.idle[at] = idle;
            }
        }
        bound.sort_by_key(|bind| bind.index);
        let first_added = self.partitions.len() - std::mem::take(&mut self.added);
        let added = (first_added..self.partitions.len()).map(|at| (self.partitions[at].0.clone(), self.starts[at])).collect();
        StreamBind { stream: self.stream, watermark: self.clock.advance(now.running_us), added, partitions: bound }
    }

    /// Obeys a bound epoch.
    pub fn restore(&mut self, bind: &StreamBind) {
        for (partition, start) in &bind.added {
            self.add(partition.clone(), *start);
        }
        self.added = 0;
        self.clock.restore(bind.watermark, None);
        for partition in &bind.partitions {
            let at = partition.index.0 as usize;
            self.partitions[at].1 = partition.next;
            self.clock.restore(bind.watermark, Some((at, partition.newest)));
        }
    }
}

/// W for each stream of the plan: a child has its parent's.
pub fn watermarks(plan: &Plan, sources: &BTreeMap<u32, SourceStream>) -> Vec<EventTime> {
    let mut watermarks: Vec<EventTime> = Vec::with_capacity(plan.streams.len());
    for (index, stream) in plan.streams.iter().enumerate() {
        watermarks.push(match &stream.from {
            StreamInput::Source(_) => sources[&(index as u32)].clock.watermark(),
            StreamInput::Stream(parent, _) => watermarks[*parent],
        });
    }
    watermarks
}

/// What each stream contributes to an epoch, from what every worker reported.
pub fn bind(sources: &mut BTreeMap<u32, SourceStream>, reports: &[PartitionReport], now: Now) -> Vec<StreamBind> {
    sources.values_mut().map(|source| source.bind(reports, now)).collect()
}
