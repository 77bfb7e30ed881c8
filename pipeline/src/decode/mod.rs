//! wip
pub mod spec;
pub(crate) mod csv;
pub(crate) mod decimal;
pub(crate) mod event_time;
pub(crate) mod json;
pub(crate) mod pointer;
pub(crate) mod rfc3339;
pub(crate) mod text;
pub use spec::*;
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
#[derive(Clone, Debug, Default)]
pub struct Tables;

impl Tables {
    /// Builds the tables from their rows: for each table of the plan, rows of one text (or none) for each column.
    /// A duplicate key or a value of the wrong type is an error naming table, row and column.
    pub fn new(_plans: &[crate::plan::TablePlan], _rows: &[Vec<Vec<Option<String>>>]) -> Result<Tables, Vec<String>> { unimplemented!() }
}

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
    /// Compiles a spec, or names all its mistakes.
    pub fn new(_spec: &DecoderSpec) -> Result<Decoder, Vec<SpecError>> { unimplemented!() }
    /// The fields of its records, in order.
    pub fn fields(&self) -> &[crate::value::Field] { unimplemented!() }
    /// Decodes, explodes, validates and extracts; one outcome for each element, in element order.
    pub fn decode(&self, _message: &Message, _context: &Context<'_>, _out: &mut Vec<Result<Record, (u32, Rejection)>>) { unimplemented!() }
}

impl Derivation {
    /// Compiles a spec, or names all its mistakes.
    pub fn new(_spec: &DerivationSpec) -> Result<Derivation, Vec<SpecError>> { unimplemented!() }
    /// The child's fields, in order.
    pub fn fields(&self) -> &[crate::value::Field] { unimplemented!() }
    /// The child's values and whether its own `where` holds.
    pub fn derive(&self, _parent: &Record) -> Result<(Box<[Value]>, bool), Rejection> { unimplemented!() }
}
