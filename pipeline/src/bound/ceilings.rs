//! What state may hold at run time by the declared limits (SEMANTICS 27).

use super::rows::Rows;
use super::{ahead, id_count, spaced};
use crate::plan::Plan;
use crate::state::Held;
use std::collections::BTreeMap;

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
        let ids = ids.filter_map(|(at, stream)| Some((at, id_count(stream, &plan.limits, in_flight_bytes_max)?)));
        let rows = |view: usize| Rows::of(plan, view, ahead(plan, view, in_flight_bytes_max));
        Ceilings { ids: ids.collect(), rows: (0..plan.views.len()).map(|view| (view as u32, rows(view))).collect() }
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
                let of = &self.rows[at];
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
