//! What operators save and load: rows of (route, key, value) under the operator's name.
//!
//! The route is the hash by which the dataflow exchanges the key, so that a state saved by any number of workers
//! loads onto any other: worker i of n takes the rows with `route % n == i`. Loading emits nothing.

use crate::plan::{Plan, ViewInput, ViewPlan};
use crate::time::Epoch;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// One saved row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateRow {
    /// Which worker it belongs to, modulo their number.
    pub route: u64,
    /// The key, postcard.
    pub key: Vec<u8>,
    /// The value, postcard.
    pub value: Vec<u8>,
}

impl StateRow {
    /// Encodes a row.
    pub fn new(route: u64, key: &impl Serialize, value: &impl Serialize) -> StateRow {
        let encode = "operator state has no type that postcard cannot write";
        StateRow { route, key: postcard::to_stdvec(key).expect(encode), value: postcard::to_stdvec(value).expect(encode) }
    }
}

/// Bytes of saved rows, by operator.
pub type Sizes = BTreeMap<String, u64>;

/// All rows of a checkpoint, by operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(pub BTreeMap<String, Vec<StateRow>>);

impl State {
    /// How much the operators will hold that load it; roll-ups, which derive their rows from others, are left out.
    pub fn held(&self, plan: &Plan) -> Held {
        let rows = |name: String| self.0.get(&name).map_or(0, |rows| rows.len() as u64);
        let is_root = |(_, view): &(u32, &ViewPlan)| matches!(view.from, ViewInput::Stream { .. });
        Held {
            ids: (0..).zip(&plan.streams).map(|(at, stream)| (at, rows(format!("ids/{}", stream.name)))).collect(),
            rows: (0..).zip(&plan.views).filter(is_root).map(|(at, view)| (at, rows(format!("view/{}", view.name)))).collect(),
            open: BTreeMap::new(),
        }
    }

    /// Adds the bytes of each operator's rows to `sizes`.
    pub fn measure(&self, sizes: &mut Sizes) {
        let row = |row: &StateRow| (size_of_val(&row.route) + row.key.len() + row.value.len()) as u64;
        for (operator, rows) in &self.0 {
            *sizes.entry(operator.clone()).or_default() += rows.iter().map(row).sum::<u64>();
        }
    }
}

/// A worker's share of a loaded state.
#[derive(Clone)]
pub struct StateRows {
    state: Arc<State>,
    index: u64,
    peers: u64,
}

impl StateRows {
    /// The share of worker `index` of `peers`.
    pub fn new(state: Arc<State>, index: usize, peers: usize) -> StateRows {
        StateRows { state, index: index as u64, peers: peers as u64 }
    }

    /// The rows of `operator` that live on this worker.
    pub fn rows(&self, operator: &str) -> impl Iterator<Item = &StateRow> {
        let mine = |row: &&StateRow| row.route % self.peers == self.index;
        self.state.0.get(operator).into_iter().flatten().filter(mine)
    }
}

/// Where a worker's operators leave what only they know: at each epoch how much they hold, at a checkpoint's epoch their
/// state. The collector takes it from there.
#[derive(Clone, Default)]
pub struct SaveState {
    state: Rc<RefCell<State>>,
    held: Rc<RefCell<BTreeMap<Epoch, Held>>>,
}

/// How much operators hold at an epoch's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Ids remembered, by stream.
    pub ids: BTreeMap<u32, u64>,
    /// Rows, by view: one for each window and group, of sliding windows one for each pane that they share.
    pub rows: BTreeMap<u32, u64>,
    /// Those of them whose window has not ended.
    pub open: BTreeMap<u32, u64>,
}

impl Held {
    /// Adds what another worker holds.
    pub fn add(&mut self, other: &Held) {
        for (own, others) in [(&mut self.ids, &other.ids), (&mut self.rows, &other.rows), (&mut self.open, &other.open)] {
            others.iter().for_each(|(at, count)| *own.entry(*at).or_default() += count);
        }
    }
}

impl SaveState {
    /// Adds the rows of one operator.
    pub fn put(&self, operator: &str, mut rows: Vec<StateRow>) {
        self.state.borrow_mut().0.entry(operator.to_owned()).or_default().append(&mut rows);
    }

    /// Takes everything that was put.
    pub fn take(&self) -> State {
        std::mem::take(&mut self.state.borrow_mut())
    }

    /// Says how many rows of a view are held at the end of an epoch, and how many of them are open.
    pub fn hold_rows(&self, epoch: Epoch, view: u32, rows: u64, open: u64) {
        let mut epochs = self.held.borrow_mut();
        let held = epochs.entry(epoch).or_default();
        held.rows.insert(view, rows);
        held.open.insert(view, open);
    }

    /// Says how many ids a stream remembers at the end of an epoch.
    pub fn hold_ids(&self, epoch: Epoch, stream: u32, ids: u64) {
        self.held.borrow_mut().entry(epoch).or_default().ids.insert(stream, ids);
    }

    /// Takes what was said of an epoch.
    pub fn take_held(&self, epoch: Epoch) -> Held {
        self.held.borrow_mut().remove(&epoch).unwrap_or_default()
    }
}
