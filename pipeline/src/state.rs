//! What operators save and load: rows of (route, key, value) under the operator's name.
//!
//! The route is the hash by which the dataflow exchanges the key, so that a state saved by any number of workers
//! loads onto any other: worker i of n takes the rows with `route % n == i`. Loading emits nothing.

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

/// All rows of a checkpoint, by operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(pub BTreeMap<String, Vec<StateRow>>);

impl State {
    /// Adds another worker's part.
    pub fn extend(&mut self, other: State) {
        for (operator, mut rows) in other.0 {
            self.0.entry(operator).or_default().append(&mut rows);
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

/// Where a worker's operators put their state at a checkpoint's epoch; the collector takes it from there.
#[derive(Clone, Default)]
pub struct SaveState(Rc<RefCell<State>>);

impl SaveState {
    /// Adds the rows of one operator.
    pub fn put(&self, operator: &str, mut rows: Vec<StateRow>) {
        self.0.borrow_mut().0.entry(operator.to_owned()).or_default().append(&mut rows);
    }

    /// Takes everything that was put.
    pub fn take(&self) -> State {
        std::mem::take(&mut self.0.borrow_mut())
    }
}
