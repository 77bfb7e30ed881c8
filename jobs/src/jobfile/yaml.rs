//! YAML 1.2 text into a [`Node`] tree.
//!
//! Stricter than YAML where YAML surprises: duplicate keys, tags, anchors and aliases are refused, and so is a second
//! document. An expression with `: `, ` #`, a leading `!` or `*` is the usual victim of YAML, so each of these errors
//! says «quote this».

use super::node::{Content, Entry, Node, Place, Scalar, Style};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use std::borrow::Cow;
use std::sync::Arc;

/// Deeper documents are refused.
const DEPTH_MAX: usize = 64;

/// What YAML makes impossible to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Where.
    pub place: Place,
    /// What and remedy.
    pub message: String,
}

/// Reads one document. Duplicate keys are noted in `errors` and do not stop the reading.
pub fn parse(file: &str, text: &str, errors: &mut Vec<YamlError>) -> Option<Node> {
    let mut builder =
        Builder { file: file.into(), parser: Parser::new_from_str(text), source: Source::new(text), errors: Vec::new() };
    let result = builder.document();
    errors.append(&mut builder.errors);
    match result {
        Ok(node) => Some(node),
        Err(e) => {
            errors.push(e);
            None
        }
    }
}

/// The text, with a way from characters, which the parser counts, to bytes.
struct Source<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Source<'t> {
    fn new(text: &'t str) -> Source<'t> {
        Source { text, starts: text.char_indices().map(|(i, _)| i).collect() }
    }

    fn slice(&self, span: Span) -> &'t str {
        let byte = |index: usize| self.starts.get(index).copied().unwrap_or(self.text.len());
        self.text.get(byte(span.start.index())..byte(span.end.index())).unwrap_or("")
    }

    fn line(&self, number: usize) -> &'t str {
        self.text.lines().nth(number.saturating_sub(1)).unwrap_or("").trim()
    }
}

struct Builder<'t> {
    file: Arc<str>,
    parser: Parser<'t, StrInput<'t>>,
    source: Source<'t>,
    errors: Vec<YamlError>,
}

type Next<'t> = (Event<'t>, Span);

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, YamlError> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::StreamEnd, span) => return Err(self.error(span, "the file is empty: a job file begins with `caudal: 1`")),
                first => {
                    let node = self.node(first, 0)?;
                    self.end()?;
                    return Ok(node);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), YamlError> {
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(()),
                (_, span) => return Err(self.error(span, "a second document: one file describes one job, remove the `---`")),
            }
        }
    }

    fn next(&mut self) -> Result<Next<'t>, YamlError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(e)) => {
                let mark = *e.marker();
                let place = Place { file: self.file.clone(), line: mark.line(), column: mark.col() + 1 };
                Err(YamlError { place, message: scan_message(e.info(), self.source.line(mark.line())) })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, (event, span): Next<'t>, depth: usize) -> Result<Node, YamlError> {
        if depth > DEPTH_MAX {
            return Err(self.error(span, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.clone())
            }
            _ => (0, None),
        };
        self.refuse_decorations(anchor, tag, span)?;
        let content = match event {
            Event::Scalar(text, style, ..) => self.scalar(text, style, span),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => return Err(self.error(span, ALIAS)),
            _ => return Err(self.error(span, "expected a value")),
        };
        Ok(Node { place: self.place(span), content })
    }

    fn refuse_decorations(&self, anchor: usize, tag: Option<Cow<'_, saphyr_parser::Tag>>, span: Span) -> Result<(), YamlError> {
        if let Some(tag) = tag {
            let message =
                format!("`{tag}` is a YAML tag, and a job file has none: if it begins an expression, quote this: '{tag}…'");
            return Err(self.error(span, message));
        }
        if anchor > 0 { Err(self.error(span, ALIAS)) } else { Ok(()) }
    }

    fn scalar(&self, text: Cow<'_, str>, style: ScalarStyle, span: Span) -> Content {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        Content::Scalar(Scalar { text: text.into_owned(), style, source: self.source.slice(span).into(), secret: false })
    }

    fn list(&mut self, depth: usize) -> Result<Content, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(items)),
                item => items.push(self.node(item, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let next = self.next()?;
            if next.0 == Event::MappingEnd {
                return Ok(Content::Map(entries));
            }
            let key = self.node(next, depth + 1)?;
            let next = self.next()?;
            let node = self.node(next, depth + 1)?;
            let Content::Scalar(Scalar { text, .. }) = key.content else {
                return Err(YamlError {
                    place: key.place,
                    message: "a key must be a name: if this is an expression, quote this".into(),
                });
            };
            self.keep(&mut entries, Entry { key: text, place: key.place, node });
        }
    }

    fn keep(&mut self, entries: &mut Vec<Entry>, entry: Entry) {
        if let Some(first) = entries.iter().find(|e| e.key == entry.key) {
            let message = format!("`{}` is written twice: first in line {}", entry.key, first.place.line);
            self.errors.push(YamlError { place: entry.place, message });
        } else {
            entries.push(entry);
        }
    }

    fn place(&self, span: Span) -> Place {
        Place { file: self.file.clone(), line: span.start.line(), column: span.start.col() + 1 }
    }

    fn error(&self, span: Span, message: impl Into<String>) -> YamlError {
        YamlError { place: self.place(span), message: message.into() }
    }
}

const ALIAS: &str = "anchors, aliases and merge keys are not used in job files: share parts with `include:`; \
                     if this is an expression, quote this";

/// The parser's words, and the remedy where an expression is the usual cause.
fn scan_message(info: &str, line: &str) -> String {
    const QUOTE: &str = "an expression or text with `: `, ` #`, braces or quotes inside must be quoted as a whole: quote this";
    let remedy = if info.contains("flow") && line.contains("${") {
        "write a reference within braces in quotes, '${NAME}': quote this".into()
    } else if info.contains("flow") {
        format!("a bracket is not closed, or {QUOTE}")
    } else if info.contains("tab") {
        "indent with spaces".into()
    } else {
        QUOTE.into()
    };
    format!("not YAML: {}; {remedy}", info.trim_end_matches('.'))
}
