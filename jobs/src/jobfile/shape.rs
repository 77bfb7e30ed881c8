//! What a job file may look like, as a value: the keys, what each holds, what it is for.
//!
//! One description serves four readers: the check of what was written, the defaults, the canonical form behind the
//! fingerprint, and the JSON Schema that editors use. The description itself is in `grammar`.

/// What a node may be.
#[derive(Debug)]
pub enum Shape {
    /// Any single value, as text.
    Text,
    /// CEL or an aggregate: text that YAML easily cuts in two.
    Expression,
    /// A name that stores and expressions use as an identifier.
    Identifier,
    /// The job's name.
    JobName,
    /// A whole number in this range.
    Integer(u64, u64),
    /// `true` or `false`.
    Bool,
    /// A length of time; `Positive` ones may not be zero.
    Duration(Zero),
    /// The length of a tumbling window: a length of time above zero, or a month (`1mo`).
    WindowSize,
    /// A size in bytes.
    Bytes,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One character.
    Character,
    /// A list.
    List(&'static Shape),
    /// A list, or one item of it without brackets.
    OneOrMany(&'static Shape),
    /// These keys and no others.
    Map(&'static Keys),
    /// Names of the user's own, all with the same kind of value.
    Named(Names, &'static Shape),
    /// A single value, a list or a map, each with a shape of its own, where allowed.
    Either {
        /// When it is a single value.
        scalar: Option<&'static Shape>,
        /// When it is a list.
        list: Option<&'static Shape>,
        /// When it is a map.
        map: Option<&'static Shape>,
    },
    /// Anything: passed on as it is.
    Any,
    /// Known, but not in this release.
    Later(&'static str),
}

/// Whether a length of time may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// `0s` is fine.
    Allowed,
    /// Refused, with this reason.
    Refused(&'static str),
}

/// What the keys of a map of the user's own names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Identifiers, `[A-Za-z_][A-Za-z0-9_]*`.
    Identifiers,
    /// Lower-case identifiers, because stores make tables and keys of them.
    Stores,
    /// Anything: properties of a client library, values of an event.
    Free,
}

/// A closed set of keys.
#[derive(Debug)]
pub struct Keys {
    /// In the order of the reference page.
    pub keys: &'static [Key],
    /// Of these, exactly one must be written; empty if there is no such choice.
    pub one_of: &'static [&'static str],
}

/// A key of a closed set.
#[derive(Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What it holds.
    pub shape: &'static Shape,
    /// Whether it must be written.
    pub required: bool,
    /// What it is for, in half a sentence.
    pub doc: &'static str,
}

/// A key that may be left out.
pub const fn optional(name: &'static str, shape: &'static Shape, doc: &'static str) -> Key {
    Key { name, shape, required: false, doc }
}

/// A key that must be written.
pub const fn required(name: &'static str, shape: &'static Shape, doc: &'static str) -> Key {
    Key { name, shape, required: true, doc }
}

impl Keys {
    /// Keys without a choice between them.
    pub const fn of(keys: &'static [Key]) -> Keys {
        Keys { keys, one_of: &[] }
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

impl Shape {
    /// The shape that a node of the same kind would have: a step through `Either`.
    pub fn for_node(&'static self, node: &super::node::Node) -> Option<&'static Shape> {
        use super::node::Content;
        match self {
            Shape::Either { scalar, list, map } => match node.content {
                Content::Scalar(_) => *scalar,
                Content::List(_) => *list,
                Content::Map(_) => *map,
                Content::Unknown => None,
            },
            other => Some(other),
        }
    }

    /// What is expected, in words.
    pub fn expected(&self) -> String {
        match self {
            Shape::Text => "text".into(),
            Shape::Expression => "an expression".into(),
            Shape::Identifier => "a name of letters, digits and `_`".into(),
            Shape::JobName => "a name of lower-case letters, digits and `-`, at most 48".into(),
            Shape::Integer(low, high) if *high == u64::MAX => format!("a whole number from {low} on"),
            Shape::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Shape::Bool => "true or false".into(),
            Shape::Duration(_) => "a length of time such as `10s`, `1m`, `1h`, `3d` or `250ms`".into(),
            Shape::WindowSize => "a length of time such as `1m`, `1h`, `1d`, `7d` or `1mo`".into(),
            Shape::Bytes => "a size such as `64KiB`, `512MiB` or `2GiB`".into(),
            Shape::Choice(words) => one_of(words),
            Shape::Character => "one character".into(),
            Shape::List(item) => format!("a list, each item {}", item.expected()),
            Shape::OneOrMany(item) => format!("{} or a list of them", item.expected()),
            Shape::Map(keys) if !keys.one_of.is_empty() => format!("a map with {}", one_of(keys.one_of)),
            Shape::Map(keys) => format!("a map of {}", listed(&keys.keys.iter().map(|k| k.name).collect::<Vec<_>>())),
            Shape::Named(_, value) => format!("a map of names, each with {}", value.expected()),
            Shape::Either { scalar, list, map } => {
                let all: Vec<String> = [scalar, list, map].into_iter().flatten().map(|s| s.expected()).collect();
                all.join(", or ")
            }
            Shape::Any => "anything".into(),
            Shape::Later(what) => (*what).into(),
        }
    }
}

/// `a`, `a or b`, `a, b or c`, in code quotes.
pub fn one_of(words: &[&str]) -> String {
    joined(words, "or")
}

/// `a`, `a and b`, `a, b and c`, in code quotes.
pub fn listed(words: &[&str]) -> String {
    joined(words, "and")
}

fn joined(words: &[&str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}
