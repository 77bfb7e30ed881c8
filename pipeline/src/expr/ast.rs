//! The tree of an expression as it was written: nothing resolved, nothing typed, every node with its place in the text.
//!
//! A tree is never deeper than [`DEPTH_MAX`]: the parser refuses to build one, so whatever walks or drops a tree by
//! recursion cannot exhaust the stack. Chains of `&&` and `||` are one wide node, because people do write long ones.

use compact_str::CompactString;
use std::ops::Range;

/// How deep a tree may be. A chain of n operators or methods is n deep; what is nested by brackets is bounded by the parser.
pub(super) const DEPTH_MAX: usize = 200;

/// A part of an expression.
#[derive(Debug)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub kind: Kind,
    /// Levels below and including this one.
    pub depth: usize,
}

/// What a part is.
#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    /// `unscaled / 10^scale`, as many digits after the point as were written.
    Number {
        unscaled: i64,
        scale: u8,
    },
    Text(CompactString),
    /// A dotted name, or one written as `name['part']`.
    Name(String),
    List(Vec<Node>),
    Negate(Box<Node>),
    Not(Box<Node>),
    /// `&&` of all or `||` of any.
    Logic(Logic, Vec<Node>),
    Binary(Binary, Box<[Node; 2]>),
    /// Condition, value if true, value if false.
    Choice(Box<[Node; 3]>),
    Call(Box<Call>),
}

/// A call of a function, as `f(x, y)` or `x.f(y)`.
#[derive(Debug)]
pub(super) struct Call {
    pub receiver: Option<Node>,
    pub name: CompactString,
    pub name_span: Range<usize>,
    pub arguments: Vec<Node>,
}

/// The two connectives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logic {
    All,
    Any,
}

/// The operators between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Binary {
    /// The operator as it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Binary::Add => "+",
            Binary::Subtract => "-",
            Binary::Multiply => "*",
            Binary::Divide => "/",
            Binary::Remainder => "%",
            Binary::Equal => "==",
            Binary::NotEqual => "!=",
            Binary::Less => "<",
            Binary::LessOrEqual => "<=",
            Binary::Greater => ">",
            Binary::GreaterOrEqual => ">=",
            Binary::In => "in",
        }
    }
}
