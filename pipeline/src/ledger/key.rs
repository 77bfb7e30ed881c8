//! The ledger's keys, whose byte order is the order in which followers want to read.
//!
//! | key | value |
//! |---|---|
//! | `1 view end group start` | a row; by end, so that what completes or expires is a range |
//! | `2 epoch n` | a dead letter |
//! | `3 epoch` | version and watermarks |
//! | `4 epoch n` | an accepted event; in runs of their own, read by range |
//! | `5 view mode end` | when rows with this end became complete or final: version and W |

use super::scan::Range;
use crate::group::{Group, ordered, unordered};
use crate::ports::sink::RowState;
use crate::time::{Epoch, EventTime};
use crate::value::Cell;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const ROW: u8 = 1;
const DEAD_LETTER: u8 = 2;
const EPOCH: u8 = 3;
const EVENT: u8 = 4;
const PASSING: u8 = 5;

/// A row's identity and its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Position of the view in the plan.
    pub view: u32,
    /// First microsecond after the window.
    pub end: EventTime,
    /// The group.
    pub group: Group,
    /// First microsecond of the window.
    pub start: EventTime,
}

/// A row's value as of its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowValue {
    /// Open, complete or gone, as of the epoch.
    #[serde(with = "state")]
    pub state: RowState,
    /// Before the epoch the watermark had passed its end, or one that it had earlier: it was due to whoever waits
    /// for complete rows, and stays due.
    pub was_complete: bool,
    /// Before the epoch it was final: only a rebuild changes such a row.
    pub was_final: bool,
    /// W of the view's stream at the end of the epoch.
    pub watermark: EventTime,
    /// One cell for each column.
    pub cells: Vec<Cell>,
}

mod state {
    use super::RowState;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(state: &RowState, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(match state {
            RowState::Open => 0,
            RowState::Complete => 1,
            RowState::Gone => 2,
        })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RowState, D::Error> {
        match u8::deserialize(from)? {
            0 => Ok(RowState::Open),
            1 => Ok(RowState::Complete),
            2 => Ok(RowState::Gone),
            other => Err(serde::de::Error::custom(format!("no row state {other}"))),
        }
    }
}

/// An encoded key; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(Arc<[u8]>);

impl Key {
    pub fn row(key: &RowKey) -> Key {
        let mut bytes = Self::row_prefix(key.view, key.end);
        bytes.extend(key.group.bytes());
        bytes.extend(ordered(key.start.0).to_be_bytes());
        Key(bytes.into())
    }

    /// The first key of a view's rows that end at `end` or later.
    pub fn rows_from(view: u32, end: EventTime) -> Key {
        Key(Self::row_prefix(view, end).into())
    }

    /// The first key after all rows of a view.
    pub fn rows_after(view: u32) -> Key {
        let mut bytes = vec![ROW];
        bytes.extend((view + 1).to_be_bytes());
        Key(bytes.into())
    }

    fn row_prefix(view: u32, end: EventTime) -> Vec<u8> {
        let mut bytes = vec![ROW];
        bytes.extend(view.to_be_bytes());
        bytes.extend(ordered(end.0).to_be_bytes());
        bytes
    }

    pub fn dead_letter(epoch: Epoch, n: u32) -> Key {
        Self::numbered(DEAD_LETTER, epoch, n)
    }

    pub fn event(epoch: Epoch, n: u32) -> Key {
        Self::numbered(EVENT, epoch, n)
    }

    fn numbered(tag: u8, epoch: Epoch, n: u32) -> Key {
        let mut bytes = vec![tag];
        bytes.extend(epoch.0.to_be_bytes());
        bytes.extend(n.to_be_bytes());
        Key(bytes.into())
    }

    /// Whether this is an event's key.
    pub fn is_event(bytes: &[u8]) -> bool {
        bytes.first() == Some(&EVENT)
    }

    pub fn epoch(epoch: Epoch) -> Key {
        let mut bytes = vec![EPOCH];
        bytes.extend(epoch.0.to_be_bytes());
        Key(bytes.into())
    }

    /// Every key with a tag, in order.
    fn tagged(tag: u8) -> Range {
        let (from, to) = (Key::from_bytes(vec![tag]), Key::from_bytes(vec![tag + 1]));
        Range { from, to, after: Epoch(0) }
    }

    /// All rows.
    pub fn rows() -> Range {
        Self::tagged(ROW)
    }

    /// All dead letters.
    pub fn dead_letters() -> Range {
        Self::tagged(DEAD_LETTER)
    }

    /// All epochs.
    pub fn epochs() -> Range {
        Self::tagged(EPOCH)
    }

    /// All passings of a view.
    pub fn passings(view: u32) -> Range {
        let key = |view: u32| Key::from_bytes([&[PASSING], &view.to_be_bytes()[..]].concat());
        Range { from: key(view), to: key(view + 1), after: Epoch(0) }
    }

    /// The key of a row or a passing, of another view.
    pub fn with_view(&self, view: u32) -> Key {
        let mut bytes = self.0.to_vec();
        bytes[1..5].copy_from_slice(&view.to_be_bytes());
        Key::from_bytes(bytes)
    }

    /// Where epochs begin.
    pub fn first_epoch() -> Vec<u8> {
        vec![EPOCH]
    }

    /// The epoch of an epoch's key.
    pub fn epoch_of(bytes: &[u8]) -> Option<Epoch> {
        let rest = bytes.strip_prefix(&[EPOCH])?;
        Some(Epoch(u64::from_be_bytes(rest.try_into().ok()?)))
    }

    /// When rows of the view that end at `end` became complete, or final.
    pub fn passing(view: u32, is_final: bool, end: EventTime) -> Key {
        let mut bytes = vec![PASSING];
        bytes.extend(view.to_be_bytes());
        bytes.push(u8::from(is_final));
        bytes.extend(ordered(end.0).to_be_bytes());
        Key(bytes.into())
    }

    /// The view and the end, if this is a passing's key.
    pub fn as_passing(&self) -> Option<(u32, EventTime)> {
        let (view, rest) = self.0.strip_prefix(&[PASSING])?.split_first_chunk::<4>()?;
        let (_, end) = rest.split_last_chunk::<8>()?;
        Some((u32::from_be_bytes(*view), EventTime(unordered(u64::from_be_bytes(*end)))))
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Key {
        Key(bytes.into())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The row's identity, if this is a row's key.
    pub fn as_row(&self) -> Option<RowKey> {
        let rest = self.0.strip_prefix(&[ROW])?;
        let (view, rest) = rest.split_first_chunk::<4>()?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let (group, start) = rest.split_last_chunk::<8>()?;
        Some(RowKey {
            view: u32::from_be_bytes(*view),
            end: EventTime(unordered(u64::from_be_bytes(*end))),
            group: Group::from_bytes(group),
            start: EventTime(unordered(u64::from_be_bytes(*start))),
        })
    }
}
