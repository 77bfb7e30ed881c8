//! Tokens into a tree, by precedence climbing over CEL's grammar.
//!
//! ```text
//! choice    = logic [ "?" choice ":" choice ]
//! logic     = binary, by rising precedence:  ||   &&   == != < <= > >= in   + -   * / %
//! unary     = { "!" | "-" } member
//! member    = primary { "." name | "." name "(" arguments ")" | "[" text "]" }
//! primary   = literal | name | name "(" arguments ")" | "(" choice ")" | "[" arguments "]"
//! ```
//!
//! Parsing stops at the first mistake of grammar, since what follows one is guesswork. Recursion goes only through
//! `choice`, and is counted there.

use super::ExprError;
use super::ast::{Binary, Call, DEPTH_MAX, Kind, Logic, Node};
use super::lexer::{self, Token};
use std::ops::Range;

/// How deep brackets, calls and choices may nest: less than a tree may be deep, since parsing needs more stack.
const NESTING_MAX: usize = 100;
/// Longer texts are not expressions.
const LENGTH_MAX: usize = 64 * 1024;

/// The tree of a text, or why there is none.
pub(super) fn parse(text: &str) -> Result<Node, Vec<ExprError>> {
    if text.len() > LENGTH_MAX {
        let message = format!(
            "an expression of {} bytes: {LENGTH_MAX} is the most; compute parts of it as fields of their own",
            text.len()
        );
        return Err(vec![ExprError { span: 0..text.len(), message }]);
    }
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { tokens, at: 0, nesting: 0 };
    if parser.peek() == &Token::End {
        return Err(vec![error(0..text.len(), "the expression is empty: write a value, such as `power_kw >= 0`")]);
    }
    let whole = parser.choice().and_then(|node| parser.end().map(|()| node));
    whole.map_err(|error| vec![error])
}

type Parsed<T = Node> = Result<T, ExprError>;

fn error(span: Range<usize>, message: impl Into<String>) -> ExprError {
    ExprError { span, message: message.into() }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    nesting: usize,
}

/// An infix operator on its level of precedence.
#[derive(Clone, Copy)]
enum Infix {
    Logic(Logic),
    Binary(Binary),
}

const INFIX: [(&str, u8, Infix); 14] = [
    ("||", 1, Infix::Logic(Logic::Any)),
    ("&&", 2, Infix::Logic(Logic::All)),
    ("==", 3, Infix::Binary(Binary::Equal)),
    ("!=", 3, Infix::Binary(Binary::NotEqual)),
    ("<", 3, Infix::Binary(Binary::Less)),
    ("<=", 3, Infix::Binary(Binary::LessOrEqual)),
    (">", 3, Infix::Binary(Binary::Greater)),
    (">=", 3, Infix::Binary(Binary::GreaterOrEqual)),
    ("in", 3, Infix::Binary(Binary::In)),
    ("+", 4, Infix::Binary(Binary::Add)),
    ("-", 4, Infix::Binary(Binary::Subtract)),
    ("*", 5, Infix::Binary(Binary::Multiply)),
    ("/", 5, Infix::Binary(Binary::Divide)),
    ("%", 5, Infix::Binary(Binary::Remainder)),
];

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn take(&mut self) -> (Token, Range<usize>) {
        let taken = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        taken
    }

    /// Passes the symbol if it is next.
    fn accept(&mut self, symbol: &'static str) -> bool {
        let found = self.peek() == &Token::Symbol(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &'static str, why: &str) -> Parsed<Range<usize>> {
        let span = self.span();
        if self.accept(symbol) { Ok(span) } else { Err(self.unexpected(&format!("expected `{symbol}` {why}"))) }
    }

    fn end(&self) -> Parsed<()> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Symbol(")" | "]") => Err(self.unexpected("it closes what was never opened")),
            _ => Err(self.unexpected("expected an operator or the end")),
        }
    }

    /// A choice, and the only way down into what is nested.
    fn choice(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(too_deep(self.span(), NESTING_MAX));
        }
        let condition = self.infix(1)?;
        let node = if self.accept("?") {
            let yes = self.choice()?;
            self.expect(":", "and the value for when the condition is false")?;
            let no = self.choice()?;
            let (span, depth) = (condition.span.start..no.span.end, depth_above([&condition, &yes, &no]));
            node(span, Kind::Choice(Box::new([condition, yes, no])), depth)
        } else {
            Ok(condition)
        };
        self.nesting -= 1;
        node
    }

    /// Operands joined by operators of at least this precedence; the recursion is at most one deep per level.
    fn infix(&mut self, lowest: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((precedence, infix)) = self.next_infix().filter(|(precedence, _)| *precedence >= lowest) {
            self.take();
            let right = self.infix(precedence + 1)?;
            left = join(infix, left, right)?;
        }
        Ok(left)
    }

    fn next_infix(&self) -> Option<(u8, Infix)> {
        let Token::Symbol(symbol) = self.peek() else { return None };
        INFIX.iter().find(|(known, ..)| known == symbol).map(|(_, precedence, infix)| (*precedence, *infix))
    }

    /// Signs are gathered before their operand is read, so that a row of them needs no recursion.
    fn unary(&mut self) -> Parsed {
        let mut signs = Vec::new();
        while let Token::Symbol("!" | "-") = self.peek() {
            signs.push(self.take());
        }
        let mut operand = self.member()?;
        for (sign, span) in signs.into_iter().rev() {
            let (span, depth) = (span.start..operand.span.end, depth_above([&operand]));
            let inner = Box::new(operand);
            operand = node(span, if sign == Token::Symbol("!") { Kind::Not(inner) } else { Kind::Negate(inner) }, depth)?;
        }
        Ok(operand)
    }

    fn member(&mut self) -> Parsed {
        let mut target = self.primary()?;
        loop {
            if self.accept(".") {
                target = self.selection(target)?;
            } else if self.peek() == &Token::Symbol("[") {
                target = self.index(target)?;
            } else {
                return Ok(target);
            }
        }
    }

    /// `.name` prolongs a dotted name; `.name(…)` calls a function on what stands before.
    fn selection(&mut self, target: Node) -> Parsed {
        let (token, name_span) = self.take();
        let name = match token {
            Token::Name(name) => name,
            Token::Symbol(word @ ("in" | "true" | "false" | "null")) => word.into(),
            other => {
                self.at -= usize::from(other != Token::End);
                return Err(self.unexpected("expected a name after `.`"));
            }
        };
        if self.peek() == &Token::Symbol("(") {
            return self.call(Some(target), name, name_span);
        }
        let span = target.span.start..name_span.end;
        match target.kind {
            Kind::Name(before) => node(span, Kind::Name(prolonged(before, &name)), 1),
            _ => Err(error(span, format!("only names have parts, this is a value: `.{name}` could be a call, `.{name}()`"))),
        }
    }

    /// `name['part']` is the name `name.part`, for parts that are no CEL names: `$header['trace-id']`.
    fn index(&mut self, target: Node) -> Parsed {
        self.take();
        let (token, part_span) = self.take();
        let closing = self.expect("]", "after the part's name")?;
        let span = target.span.start..closing.end;
        match (target.kind, token) {
            (Kind::Name(before), Token::Text(part)) => node(span, Kind::Name(prolonged(before, &part)), 1),
            (Kind::Name(_), _) => {
                Err(error(part_span, "fields hold single values, not lists: only a quoted part of a name goes in brackets"))
            }
            _ => Err(error(span, "only names have parts in brackets; a list is written for `in` only")),
        }
    }

    fn call(&mut self, receiver: Option<Node>, name: compact_str::CompactString, name_span: Range<usize>) -> Parsed {
        self.expect("(", "before the arguments")?;
        let (arguments, end) = self.arguments(")")?;
        let start = receiver.as_ref().map_or(name_span.start, |receiver| receiver.span.start);
        let depth = depth_above(receiver.iter().chain(&arguments));
        node(start..end, Kind::Call(Box::new(Call { receiver, name, name_span, arguments })), depth)
    }

    /// Values between commas up to the closing bracket, and where that ends. CEL lets a list end in a comma.
    fn arguments(&mut self, closing: &'static str) -> Parsed<(Vec<Node>, usize)> {
        let mut arguments = Vec::new();
        loop {
            let span = self.span();
            if (arguments.is_empty() || closing == "]") && self.accept(closing) {
                return Ok((arguments, span.end));
            }
            arguments.push(self.choice()?);
            if !self.accept(",") {
                let end = self.expect(closing, "or `,` after this value")?.end;
                return Ok((arguments, end));
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let (token, span) = self.take();
        let kind = match token {
            Token::Number { unscaled, scale } => Kind::Number { unscaled, scale },
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) if self.peek() == &Token::Symbol("(") => return self.call(None, name, span),
            Token::Name(name) => Kind::Name(name.into()),
            Token::Symbol("true") => Kind::Bool(true),
            Token::Symbol("false") => Kind::Bool(false),
            Token::Symbol("null") => Kind::Null,
            Token::Symbol("(") => {
                let mut inner = self.choice()?;
                inner.span = span.start..self.expect(")", "to close the parenthesis")?.end;
                return Ok(inner);
            }
            Token::Symbol("[") => {
                let (elements, end) = self.arguments("]")?;
                let depth = depth_above(&elements);
                return node(span.start..end, Kind::List(elements), depth);
            }
            Token::Symbol("{") => return Err(error(span, "there are no maps or messages in an expression")),
            _ => {
                self.at -= usize::from(token != Token::End);
                return Err(self.unexpected("expected a value"));
            }
        };
        node(span, kind, 1)
    }

    /// An error at the next token that says what stands there, with a remedy for words of other languages.
    fn unexpected(&self, expected: &str) -> ExprError {
        let remedy = match self.peek() {
            Token::Name(name) => match name.to_ascii_lowercase().as_str() {
                "and" => ": «and» is written `&&`",
                "or" => ": «or» is written `||`",
                "not" => ": «not» is written `!`",
                "is" => ": write `== null` or `!= null`",
                "like" => ": use contains, startsWith, endsWith or matches",
                "between" => ": write `low <= x && x <= high`",
                _ => "",
            },
            Token::Symbol("*") => ": there is no power operator",
            _ => "",
        };
        let found = match self.peek() {
            Token::End => "the end of the expression".to_string(),
            Token::Number { .. } => "a number".to_string(),
            Token::Text(_) => "a text".to_string(),
            Token::Name(name) => format!("`{name}`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
        };
        error(self.span(), format!("{expected}, found {found}{remedy}"))
    }
}

/// Joins two operands; neighbours in a chain of the same connective become one wide node.
fn join(infix: Infix, left: Node, right: Node) -> Parsed {
    let span = left.span.start..right.span.end;
    let depth = depth_above([&left, &right]);
    match (infix, left.kind) {
        (Infix::Logic(logic), Kind::Logic(same, mut terms)) if logic == same => {
            let depth = left.depth.max(right.depth + 1);
            terms.push(right);
            node(span, Kind::Logic(logic, terms), depth)
        }
        (Infix::Logic(logic), kind) => node(span, Kind::Logic(logic, vec![Node { kind, ..left }, right]), depth),
        (Infix::Binary(binary), kind) => node(span, Kind::Binary(binary, Box::new([Node { kind, ..left }, right])), depth),
    }
}

fn prolonged(mut name: String, part: &str) -> String {
    name.push('.');
    name.push_str(part);
    name
}

fn depth_above<'a>(children: impl IntoIterator<Item = &'a Node>) -> usize {
    1 + children.into_iter().map(|child| child.depth).max().unwrap_or(0)
}

fn node(span: Range<usize>, kind: Kind, depth: usize) -> Parsed {
    if depth > DEPTH_MAX { Err(too_deep(span, DEPTH_MAX)) } else { Ok(Node { span, kind, depth }) }
}

fn too_deep(span: Range<usize>, most: usize) -> ExprError {
    error(span, format!("nested more than {most} levels deep: compute parts of it as fields of their own"))
}
