//! The one piece of plumbing: it hands an operator its data, and the end of each epoch in order.
//!
//! Emits at the epoch being closed. Holds one capability, for the oldest epoch not yet closed; it is moved on as the
//! input's frontier passes and dropped when the input ends. A worker lets the frontier pass an epoch only after it has
//! stored the epoch's [`Tick`], so a tick is always there when it is needed.

use crate::state::Save;
use crate::time::{Epoch, EventTime, Version};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Operator;

/// What was bound for an epoch, as far as operators need it.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Which.
    pub epoch: Epoch,
    /// Its version.
    pub opened: Version,
    /// W(e−1) for each stream of the plan: what its records are judged by.
    pub before: Arc<[EventTime]>,
    /// W(e) for each stream of the plan: what completes and what becomes final.
    pub after: Arc<[EventTime]>,
    /// What operators save of their state as of the end of this epoch.
    pub save: Save,
}

/// A worker's ticks, shared by its operators.
#[derive(Clone, Default)]
pub struct Ticks(Rc<RefCell<BTreeMap<u64, Tick>>>);

impl Ticks {
    /// Stores a tick; then the worker may let its inputs pass the epoch.
    pub fn insert(&self, tick: Tick) {
        self.0.borrow_mut().insert(tick.epoch.0, tick);
    }

    /// Forgets the ticks before `epoch`: every operator has passed them.
    pub fn forget_before(&self, epoch: Epoch) {
        let mut ticks = self.0.borrow_mut();
        *ticks = ticks.split_off(&epoch.0);
    }

    fn get(&self, epoch: u64) -> Option<Tick> {
        self.0.borrow().get(&epoch).cloned()
    }
}

/// An operator as a state that is told of data and of the ends of epochs.
pub trait EpochOperator: 'static {
    /// What arrives.
    type In: 'static;
    /// What it emits.
    type Out: 'static;
    /// Takes data of an epoch that is not closed yet; data of later epochs may arrive early.
    fn take(&mut self, epoch: Epoch, batch: &mut Vec<Self::In>);
    /// The epoch has all its data: works on it, emits, and saves if the tick says so.
    fn close(&mut self, tick: &Tick, out: &mut Vec<Self::Out>);
}

/// Runs `operator` over `stream`, closing epochs from `first` on.
pub fn epochs<'scope, O, P>(
    stream: StreamVec<'scope, u64, O::In>,
    pact: P,
    name: &str,
    first: Epoch,
    ticks: Ticks,
    mut operator: O,
) -> StreamVec<'scope, u64, O::Out>
where
    O: EpochOperator,
    P: ParallelizationContract<u64, Vec<O::In>>,
{
    stream.unary_frontier(pact, name, move |capability, _info| {
        // Released epoch by epoch below, and at last when the input's frontier is empty.
        let mut capability = Some(capability.delayed(&first.0));
        let mut next = first.0;
        let mut out = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|time, batch| {
                operator.take(Epoch(*time.time()), batch);
                batch.clear();
            });
            while !frontier.less_equal(&next) {
                let Some(tick) = ticks.get(next) else { break };
                operator.close(&tick, &mut out);
                let held = capability.as_mut().expect("the capability is held until the input ends");
                if !out.is_empty() {
                    output.session(held).give_container(&mut out);
                    out.clear();
                }
                next += 1;
                held.downgrade(&next);
            }
            if frontier.is_empty() {
                capability = None;
            }
        }
    })
}
