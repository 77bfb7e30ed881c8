//! (contract; to be replaced by the real module)
use crate::record::{Message, Partition, PartitionIndex, Record, Rejection};
use crate::time::Version;
use crate::value::Value;

/// Decodes messages of one stream.
#[derive(Debug)]
pub struct Decoder;

/// Makes a child stream's record from its parent's.
#[derive(Debug)]
pub struct Derivation;

/// Reference data as of one version.
#[derive(Debug, Default)]
pub struct Tables;

/// What decoding may depend on besides the bytes.
pub struct Context<'a> {
    /// The partition's bound position.
    pub index: PartitionIndex,
    /// The partition by name, for `$topic` and `$partition`.
    pub partition: &'a Partition,
    /// The epoch's opening time, for `$received`.
    pub opened: Version,
    /// Reference data.
    pub tables: &'a Tables,
}

impl Decoder {
    /// Decodes, explodes, validates and extracts; one outcome for each element, in element order.
    pub fn decode(&self, _message: &Message, _context: &Context<'_>, _out: &mut Vec<Result<Record, (u32, Rejection)>>) { unimplemented!() }
}

impl Derivation {
    /// The child's values and whether its own `where` holds.
    pub fn derive(&self, _parent: &Record) -> Result<(Box<[Value]>, bool), Rejection> { unimplemented!() }
}
