//! What state may hold at run time by the declared limits (SEMANTICS 27).
//!
//! W moves at an epoch's end only, so that whatever is in flight may lie in state beside what the horizons keep there.

use super::rows::Rows;
use super::{ahead, id_count, spaced};
use crate::plan::Plan;
use crate::state::Held;
use std::collections::BTreeMap;

/// A message in flight is counted with so many bytes at least.
const MESSAGE_BYTES_MIN: u64 = 64;

/// The ids and rows that the memory bound is computed from; what no declared limit bounds is not in it.
#[derive(Clone, Debug)]
pub struct Ceilings {
    ids: BTreeMap<u32, u64>,
    rows: BTreeMap<u32, Rows>,
}

impl Ceilings {
    /// Of a job that pauses intake at so many bytes in flight.
    pub fn of(plan: &Plan, in_flight_bytes_max: u64) -> Ceilings {
        let ids = (0..).zip(&plan.streams).filter(|(_, stream)| stream.deduplicate.is_some());
        let in_flight = in_flight_bytes_max / MESSAGE_BYTES_MIN;
        let ids = ids.filter_map(|(at, stream)| Some((at, id_count(stream, &plan.limits, in_flight_bytes_max)? + in_flight)));
        let rows = |view: usize| Rows::of(plan, view, ahead(plan, view, in_flight_bytes_max)).plus(in_flight);
        let declared = |view: &usize| !plan.views[*view].group.is_empty();
        let rows = (0..plan.views.len()).filter(declared).map(|view| (view as u32, rows(view)));
        Ceilings { ids: ids.collect(), rows: rows.collect() }
    }

    /// The first limit that state is beyond, with what would help.
    pub fn exceeded(&self, plan: &Plan, held: &Held) -> Option<String> {
        let ids = held.ids.iter().find_map(|(at, &ids)| {
            let most = *self.ids.get(at).filter(|most| ids > **most)?;
            let (stream, rate) = (&plan.streams[*at as usize], plan.limits.events_per_s?);
            Some(format!(
                "stream {} remembers {} ids, more than the {} that {rate} records per second of event time come to: \
                 raise limits.events_per_s and start again, nothing is lost",
                stream.name,
                spaced(ids),
                spaced(most)
            ))
        });
        ids.or_else(|| {
            held.rows.iter().find_map(|(at, &rows)| {
                let of = self.rows.get(at)?;
                let most = of.rows.filter(|most| rows > *most)?;
                let (why, limit) = of.allowed_by();
                Some(format!(
                    "view {} holds {} rows, more than {} ({why}): raise {limit} and start again, nothing is lost",
                    plan.views[*at as usize].name,
                    spaced(rows),
                    spaced(most)
                ))
            })
        })
    }
}
