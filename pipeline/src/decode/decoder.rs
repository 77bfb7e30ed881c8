//! A message's way to records: size, body, decode, explode, schema, fields, event time. One outcome an element.
//!
//! What fails before there are elements is one outcome, that of element 0.

use super::csv::{self, CellKind, Dialect};
use super::event_time::EventTimeRule;
use super::fields::{Fields, Surroundings};
use super::identity::Identity;
use super::json;
use super::place::Scene;
use super::pointer::Pointer;
use super::rules::Rules;
use super::schema::Violations;
use super::shapes::Scalar;
use super::spec::{DecoderSpec, Format, SpecError};
use super::tables::Tables;
use super::text;
use super::types::SchemaTypes;
use crate::record::{Message, Origin, Partition, PartitionIndex, Reason, Record, Rejection, Violation};
use crate::time::Version;
use crate::value::Field;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// The header in which a file source sends the header line of a CSV file.
pub const CSV_COLUMNS: &str = "csv.columns";

/// How many violations outside the exploded array are repeated for each of its elements.
const SHARED_MAX: usize = 16;

/// Decodes messages of one stream.
#[derive(Debug)]
pub struct Decoder {
    body: Body,
    max_bytes: usize,
    explode: Option<Pointer>,
    rules: Rules,
    fields: Fields,
    identity: Identity,
    event_time: EventTimeRule,
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

/// How bytes become a value.
#[derive(Debug)]
enum Body {
    Json,
    Csv { dialect: Dialect, columns: Option<Vec<String>>, kinds: BTreeMap<String, CellKind> },
}

impl Decoder {
    /// Compiles a spec, or names all its mistakes.
    pub fn new(spec: &DecoderSpec) -> Result<Decoder, Vec<SpecError>> {
        let mut errors = Vec::new();
        let types = SchemaTypes::new(spec);
        let body = Body::new(spec, &types, &mut errors);
        let decimal = body.decimal();
        let explode = explode(spec, &mut errors);
        let rules = Rules::new(spec, &mut errors);
        let event_time = EventTimeRule::new(spec, &types, decimal, &mut errors);
        let around = Surroundings { spec, types: &types, event_time: event_time.as_ref(), decimal };
        let fields = Fields::new(&around, &mut errors);
        let identity = Identity::new(spec, &mut errors);
        if spec.max_bytes == 0 {
            let message = "no message is that small: allow at least 1 byte".to_owned();
            errors.push(SpecError { path: "max_bytes".into(), span: None, message });
        }
        match (rules, event_time) {
            (Some(rules), Some(event_time)) if errors.is_empty() => {
                Ok(Decoder { body, max_bytes: spec.max_bytes, explode, rules, fields, identity, event_time })
            }
            _ => Err(errors),
        }
    }

    /// Where the spec names no id, records are called what this header of their message says, if it is there. The
    /// stream must then deduplicate.
    pub fn or_id_from_header(mut self, name: &str) -> Decoder {
        self.identity = self.identity.or_header(name, self.explode.is_some());
        self
    }

    /// The fields of its records, in order.
    pub fn fields(&self) -> &[Field] {
        self.fields.list()
    }

    /// Decodes, explodes, validates and extracts; one outcome for each element, in element order.
    pub fn decode(&self, message: &Message, context: &Context<'_>, out: &mut Vec<Result<Record, (u32, Rejection)>>) {
        let (root, payload) = match self.read(message) {
            Ok(read) => read,
            Err(rejection) => return out.push(Err((0, rejection))),
        };
        match &self.explode {
            None => {
                let scene = Scene { message, context, root: &root, element: &root, element_path: "" };
                let mut violations = Violations::default();
                self.rules.message(&root, &mut violations);
                out.push(self.record(&scene, 0, violations, |_| xxh3_64(payload)).map_err(|rejection| (0, rejection)));
            }
            Some(array) => self.elements(array, message, context, &root, out),
        }
    }

    /// Size, body, format.
    fn read<'m>(&self, message: &'m Message) -> Result<(Json, &'m [u8]), Rejection> {
        let payload = message.payload.as_deref();
        let size = payload.map_or(0, <[u8]>::len);
        if size > self.max_bytes {
            let what = format!("the message has {size} bytes, more than the {} that are allowed", self.max_bytes);
            return Err(Rejection::one(Reason::TooLarge, "", what));
        }
        let Some(payload) = payload else {
            return Err(Rejection::one(Reason::Tombstone, "", "the message has no body: it is a tombstone"));
        };
        if payload.is_empty() {
            return Err(Rejection::one(Reason::Malformed, "", "the body is empty"));
        }
        Ok((self.body.parse(message, payload)?, payload))
    }

    fn elements(
        &self,
        array: &Pointer,
        message: &Message,
        context: &Context<'_>,
        root: &Json,
        out: &mut Vec<Result<Record, (u32, Rejection)>>,
    ) {
        let elements = match array_at(array, root) {
            Ok(elements) => elements,
            Err(rejection) => return out.push(Err((0, rejection))),
        };
        let mut shared = Violations::unlimited();
        self.rules.message(root, &mut shared);
        let common: Vec<&Violation> = shared.outside(array.as_str()).take(SHARED_MAX).collect();
        let mut bytes = Vec::new();
        for (n, element) in elements.iter().enumerate() {
            let element_path = format!("{}/{n}", array.as_str());
            let scene = Scene { message, context, root, element, element_path: &element_path };
            let mut violations = Violations::default();
            if !shared.is_empty() {
                violations.extend(common.iter().copied().chain(shared.within(&element_path)));
            }
            let content = |element: &Json| {
                bytes.clear();
                // Writing to memory cannot fail, and every key is a string.
                serde_json::to_writer(&mut bytes, element).expect("a JSON value can be written to memory");
                xxh3_64(&bytes)
            };
            let n = n as u32;
            out.push(self.record(&scene, n, violations, content).map_err(|rejection| (n, rejection)));
        }
    }

    /// Schema, fields, event time of one element.
    fn record(
        &self,
        scene: &Scene<'_>,
        element: u32,
        mut violations: Violations,
        content: impl FnOnce(&Json) -> u64,
    ) -> Result<Record, Rejection> {
        self.rules.element(scene, &mut violations);
        if !violations.is_empty() {
            return Err(Rejection { reason: Reason::Schema, violations: violations.into_vec() });
        }
        let origin = Origin { partition: scene.context.index, offset: scene.message.offset, element };
        let (values, passes) = self.fields.read(scene)?;
        let id = self.identity.read(scene, origin)?;
        let event_time = self.event_time.read(scene)?;
        Ok(Record { event_time, origin, id, content: content(scene.element), passes, values })
    }
}

fn explode(spec: &DecoderSpec, errors: &mut Vec<SpecError>) -> Option<Pointer> {
    let mut mistake = |message| errors.push(SpecError { path: "explode.at".into(), span: None, message });
    let at = spec.explode.as_deref()?;
    if spec.format != Format::Json {
        mistake("a CSV record has no arrays to explode: leave `explode` out".into());
    }
    Pointer::parse(at).map_err(mistake).ok()
}

fn array_at<'a>(array: &Pointer, root: &'a Json) -> Result<&'a [Json], Rejection> {
    let refusal = |what: String| Err(Rejection::one(Reason::Explode, array.as_str(), what));
    match array.get(root) {
        Some(Json::Array(elements)) if elements.is_empty() => refusal("the array to explode is empty".into()),
        Some(Json::Array(elements)) => Ok(elements),
        Some(other) => refusal(format!("must be an array to explode, is {}", text::found(other))),
        None => refusal("the array to explode is missing".into()),
    }
}

impl Body {
    fn new(spec: &DecoderSpec, types: &SchemaTypes<'_>, errors: &mut Vec<SpecError>) -> Body {
        let Format::Csv { delimiter, decimal, columns } = &spec.format else { return Body::Json };
        let mut mistake =
            |key: &str, message: String| errors.push(SpecError { path: format!("format.csv.{key}"), span: None, message });
        let usable = delimiter.is_ascii() && !delimiter.is_ascii_alphanumeric() && !b"\"\r\n-+".contains(delimiter);
        if !usable {
            mistake("delimiter", "use one character that does not occur in numbers: `,`, `;`, `|` or a tab".into());
        }
        if !b".,".contains(decimal) {
            mistake("decimal", "the decimal point is `.` or `,`".into());
        }
        if delimiter == decimal {
            mistake("decimal", "the decimal point cannot also separate cells: choose another `delimiter`".into());
        }
        if let Some(Err(message)) = columns.as_deref().map(csv::unique) {
            mistake("columns", message);
        }
        let kinds =
            types.columns().into_iter().filter_map(|(name, scalar)| Some((name.to_owned(), cell_kind(scalar)?))).collect();
        Body::Csv { dialect: Dialect { delimiter: *delimiter, decimal: *decimal }, columns: columns.clone(), kinds }
    }

    /// The decimal point of numbers written as text.
    fn decimal(&self) -> u8 {
        match self {
            Body::Json => b'.',
            Body::Csv { dialect, .. } => dialect.decimal,
        }
    }

    fn parse(&self, message: &Message, payload: &[u8]) -> Result<Json, Rejection> {
        match self {
            Body::Json => json::parse(payload).map_err(|e| Rejection::one(Reason::Malformed, e.path, e.message)),
            Body::Csv { dialect, columns, kinds } => named_columns(message, columns.as_deref(), *dialect)
                .and_then(|columns| csv::parse(payload, &columns, *dialect, |name| kinds.get(name).copied()))
                .map_err(|what| Rejection::one(Reason::Malformed, "", what)),
        }
    }
}

/// The job's column names, or else those that came with the message.
fn named_columns<'a>(message: &Message, columns: Option<&'a [String]>, dialect: Dialect) -> Result<Cow<'a, [String]>, String> {
    if let Some(columns) = columns {
        return Ok(Cow::Borrowed(columns));
    }
    let line = message.headers.iter().rev().find(|(name, _)| name == CSV_COLUMNS).map(|(_, line)| line);
    let line =
        line.ok_or_else(|| format!("the columns have no names: list `columns` in the job or send the header {CSV_COLUMNS}"))?;
    csv::columns(line, dialect).map(Cow::Owned).map_err(|e| format!("the header line: {e}"))
}

fn cell_kind(scalar: Scalar) -> Option<CellKind> {
    match scalar {
        Scalar::Integer | Scalar::Number(_) => Some(CellKind::Number),
        Scalar::Bool => Some(CellKind::Bool),
        Scalar::Text => None,
    }
}
