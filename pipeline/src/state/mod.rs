//! What operators save and load: rows of (route, key, value) under the operator's name.
//!
//! The route is the hash by which the dataflow exchanges the key, so that a state saved by any number of workers
//! loads onto any other: worker i of n takes the rows with `route % n == i`. Loading emits nothing. At a checkpoint an
//! operator hands over the rows that changed since the one before ([`Changed`]), or all where those of earlier ones can no
//! longer be read ([`Save`]).

mod saved;

pub use saved::{Saved, StateFile, merge, needed, write};

use crate::hash::Set;
use crate::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

/// Until when a row is part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry {
    /// The stream of the plan whose W decides.
    pub stream: u32,
    /// It is over once W has reached this; never at [`EventTime::MAX`]. For one key it only grows.
    pub until: EventTime,
}

impl Expiry {
    /// Whether it is over at these watermarks, one for each stream.
    pub fn is_over(self, watermarks: &[EventTime]) -> bool {
        self.until != EventTime::MAX && watermarks.get(self.stream as usize).is_some_and(|w| self.until <= *w)
    }
}

/// One saved row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// Which worker it belongs to, modulo their number.
    pub route: u64,
    /// The key, postcard.
    pub key: Vec<u8>,
    /// The value, postcard; `None` once it has left before its time.
    pub value: Option<(Expiry, Vec<u8>)>,
}

const ENCODE: &str = "operator state has no type that postcard cannot write";

impl StateRow {
    /// A row that is there.
    pub fn new(route: u64, key: &impl Serialize, value: &impl Serialize, expiry: Expiry) -> StateRow {
        let value = postcard::to_stdvec(value).expect(ENCODE);
        StateRow { route, key: postcard::to_stdvec(key).expect(ENCODE), value: Some((expiry, value)) }
    }

    /// A row that is no longer there, though W has not passed it.
    pub fn gone(route: u64, key: &impl Serialize) -> StateRow {
        StateRow { route, key: postcard::to_stdvec(key).expect(ENCODE), value: None }
    }

    /// Key and value of a row that was loaded.
    ///
    /// # Panics
    /// If the row was saved as something else: files are checked when they are opened.
    pub fn decode<K: for<'a> Deserialize<'a>, V: for<'a> Deserialize<'a>>(&self) -> (K, V) {
        let saved = "a saved row is what this operator saved";
        let (_, value) = self.value.as_ref().expect(saved);
        (postcard::from_bytes(&self.key).expect(saved), postcard::from_bytes(value).expect(saved))
    }
}

/// What operators hand over at the end of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Save {
    /// Nothing: no checkpoint.
    #[default]
    Nothing,
    /// The rows that changed since the last time.
    Changed,
    /// All rows: nothing that was saved before counts.
    Whole,
}

/// Keys of rows that changed since they were last saved.
pub struct Changed<K>(Set<K>);

impl<K> Default for Changed<K> {
    fn default() -> Changed<K> {
        Changed(Set::default())
    }
}

impl<K: Eq + Hash> Changed<K> {
    /// Remembers that a row changed.
    pub fn insert(&mut self, key: K) {
        self.0.insert(key);
    }

    /// Forgets them: all rows are saved.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The rows to save, by what `row` makes of each key, in no order: whoever saves them sorts.
    #[expect(clippy::disallowed_methods, reason = "who saves the rows orders them by key")]
    pub fn take(&mut self, row: impl FnMut(K) -> Option<StateRow>) -> Vec<StateRow> {
        self.0.drain().filter_map(row).collect()
    }
}

/// Bytes of saved rows, by operator.
pub type Sizes = BTreeMap<String, u64>;

/// Rows that changed, by operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(pub BTreeMap<String, Vec<StateRow>>);

/// A worker's share of a saved state.
#[derive(Clone)]
pub struct StateRows {
    saved: Arc<Saved>,
    index: u64,
    peers: u64,
}

impl StateRows {
    /// The share of worker `index` of `peers`.
    pub fn new(saved: Arc<Saved>, index: usize, peers: usize) -> StateRows {
        StateRows { saved, index: index as u64, peers: peers as u64 }
    }

    /// The rows of `operator` that live on this worker, up to one that cannot be read: [`Saved::failure`] tells of it then.
    pub fn rows(&self, operator: &str) -> impl Iterator<Item = StateRow> {
        let (index, peers) = (self.index, self.peers);
        let rows = self.saved.rows(operator, move |route| route % peers == index);
        rows.map_while(|row| row.map_err(|error| self.saved.failed(&error)).ok())
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        if rows.is_empty() {
            return;
        }
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
