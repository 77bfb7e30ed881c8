//! How far behind its source's end a stream is, at each stage of a message's way (arithmetic over positions).
//!
//! ```text
//! checkpoint ──────── bound ──────── read ──────── the source's end
//!      └────────────────┼──────────────┴─ read ───────────┤
//!                       └──────────────── bound ──────────┤
//! └────────────────────────────────────── acknowledged ───┘
//! ```
//! Positions are those that workers reported last; offsets that hold no message are counted like messages. While bound
//! epochs are repeated, all of it is as of what is repeated.

use super::checkpoint::SourceState;
use super::epochs::SourceStream;
use crate::record::PartitionIndex;
use crate::worker::PartitionReport;

/// Messages between a stage and the source's end, over the partitions whose source tells its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Not read by a worker.
    pub read: u64,
    /// Not bound to an epoch in the commit log: the same, and what was read since.
    pub bound: u64,
    /// Not in the newest checkpoint: a restart reads them again.
    pub acknowledged: u64,
}

/// Of a stream of which `unbound` messages are read and not bound; `None` if no partition tells its end.
pub fn of(source: &SourceStream, unbound: u64, saved: Option<&SourceState>) -> Option<Lag> {
    let told: Vec<&PartitionReport> = source.reports.values().filter(|report| report.end.is_some()).collect();
    if told.is_empty() {
        return None;
    }
    let read = told.iter().map(|report| unread(report)).sum();
    let unsaved: u64 = told.iter().map(|report| report.next.0.saturating_sub(saved_next(source, report.index, saved))).sum();
    Some(Lag { read, bound: read + unbound, acknowledged: read + unsaved })
}

/// What a partition holds beyond what was read; nothing if the source says so, whatever lies at the last offsets.
fn unread(report: &PartitionReport) -> u64 {
    let end = report.end.filter(|_| !report.quiet && !report.finished);
    end.map_or(0, |end| end.0.saturating_sub(report.next.0))
}

fn saved_next(source: &SourceStream, index: PartitionIndex, saved: Option<&SourceState>) -> u64 {
    let at = index.0 as usize;
    saved.and_then(|state| state.partitions.get(at)).map_or(source.start(at), |(_, next, _)| *next).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::WatermarkPlan;
    use crate::record::{Offset, Partition};
    use crate::time::{EventTime, Span};

    fn report(index: u32, next: u64, end: Option<u64>, quiet: bool) -> PartitionReport {
        let index = PartitionIndex(index);
        let (next, end) = (Offset(next), end.map(Offset));
        PartitionReport { stream: 0, index, next, count: 0, hash: 0, before: 0, newest: None, quiet, finished: false, end }
    }

    /// Partition 0 from offset 10 on, partition 1 from 0, partition 2 without an end.
    fn source(reports: &[PartitionReport]) -> SourceStream {
        let span = Span::seconds(1);
        let watermark =
            WatermarkPlan { max_delay: span, max_future: span, max_ahead: span, idle_after: span, advance_when_all_idle: true };
        let mut source = SourceStream::new(0, watermark);
        for (number, start) in [(0, 10), (1, 0), (2, 0)] {
            source.add(Partition { topic: "t".into(), number }, Offset(start));
        }
        source.reports.extend(reports.iter().map(|report| (report.index, *report)));
        source
    }

    #[test]
    fn each_stage_has_what_lies_beyond_it() {
        let source = source(&[report(0, 25, Some(40), false), report(1, 7, Some(8), true), report(2, 9, None, false)]);
        // Nothing is saved: partition 0 has read 10 to 24, partition 1 all but a mark that is no message.
        assert_eq!(of(&source, 5, None), Some(Lag { read: 15, bound: 20, acknowledged: 15 + 15 + 7 }));
        let partition = |number, next| (Partition { topic: "t".into(), number }, Offset(next), None);
        let saved = SourceState { watermark: EventTime(0), partitions: vec![partition(0, 20), partition(1, 7)], last: vec![] };
        assert_eq!(of(&source, 0, Some(&saved)), Some(Lag { read: 15, bound: 15, acknowledged: 20 }));
    }

    #[test]
    fn a_source_that_tells_no_end_has_no_lag() {
        assert_eq!(of(&source(&[report(2, 9, None, false)]), 0, None), None);
        assert_eq!(of(&source(&[]), 0, None), None);
    }
}
