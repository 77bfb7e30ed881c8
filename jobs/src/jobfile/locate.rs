//! From a byte of a scalar's text back to the line and column where it was written.
//!
//! Text and source are walked together; each style has its own way to write one character:
//!
//! ```text
//! 'it''s'      single: '' is one quote          "a\u0020b"   double: escapes
//! a            plain: a line break with its       a > 1      block: from the first character of its
//!   b          indentation is one space           && b       text, each further line less its indentation
//! ```

use super::node::{Scalar, Style};

/// Line and column (from 1) of the byte at `offset` of the scalar's text, which begins at `line` and `column`.
pub fn position(scalar: &Scalar, offset: usize, line: usize, column: usize) -> (usize, usize) {
    let mut walk = Walk { source: scalar.source.chars().collect(), at: 0, line, column, indent: column - 1 };
    walk.enter(scalar.style);
    for (i, wanted) in scalar.text.char_indices() {
        walk.align(scalar.style, wanted);
        if i >= offset {
            break;
        }
        walk.consume(scalar.style, wanted);
    }
    (walk.line, walk.column)
}

struct Walk {
    source: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
    indent: usize,
}

impl Walk {
    fn peek(&self) -> Option<char> {
        self.source.get(self.at).copied()
    }

    fn step(&mut self) {
        match self.peek() {
            Some('\n') => (self.line, self.column) = (self.line + 1, 1),
            Some(_) => self.column += 1,
            None => return,
        }
        self.at += 1;
    }

    /// Past the opening quote.
    fn enter(&mut self, style: Style) {
        if matches!(style, Style::Single | Style::Double) {
            self.step();
        }
    }

    /// Past white space of the source that the text does not have.
    fn align(&mut self, style: Style, wanted: char) {
        if style == Style::Block {
            // A folded block has fewer breaks in its text than in its source.
            let folded = !wanted.is_whitespace();
            while (self.column <= self.indent && self.peek() == Some(' ')) || (folded && self.peek() == Some('\n')) {
                self.step();
            }
        } else if !wanted.is_whitespace() && self.blank_until_break() {
            while self.peek().is_some_and(char::is_whitespace) {
                self.step();
            }
        }
    }

    fn blank_until_break(&self) -> bool {
        self.source[self.at..].iter().find(|c| !matches!(c, ' ' | '\t' | '\r')) == Some(&'\n')
    }

    /// Past what stands for one character of the text.
    fn consume(&mut self, style: Style, wanted: char) {
        if style != Style::Block && wanted.is_whitespace() && self.blank_until_break() {
            while self.peek().is_some_and(char::is_whitespace) {
                self.step();
            }
            return;
        }
        match (style, self.peek()) {
            (Style::Single, Some('\'')) => self.step(),
            (Style::Double, Some('\\')) => self.escape(),
            _ => {}
        }
        self.step();
    }

    /// Past all of an escape but its last character.
    fn escape(&mut self) {
        self.step();
        let digits = match self.peek() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        (0..digits).for_each(|_| self.step());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `^` marks the character of the text that is looked for.
    #[test]
    fn each_style_leads_back_to_its_source() {
        let cases = [
            (Style::Plain, "abc", "abc", 'c', (3, 7)),
            (Style::Single, "'it''s x'", "it's x", 'x', (3, 12)),
            (Style::Double, r#""a\u0020\"b""#, "a \"b", 'b', (3, 15)),
            (Style::Plain, "a\n    b c", "a b c", 'c', (4, 7)),
            (Style::Block, "a > 1\n      && b\n", "a > 1\n  && b\n", 'b', (4, 10)),
            (Style::Block, "a\n\n    b\n", "a\nb\n", 'b', (5, 5)),
            (Style::Block, "a\n\n    b\n", "a\n\nb\n", 'b', (5, 5)),
            (Style::Block, "a\n    b\n", "a b\n", 'b', (4, 5)),
            (Style::Single, "'a\n   b'", "a b", 'b', (4, 4)),
        ];
        for (style, source, text, wanted, expected) in cases {
            let scalar = Scalar { text: text.into(), style, source: source.into(), secret: false };
            let offset = text.find(wanted).expect("the character is in the text");
            assert_eq!(position(&scalar, offset, 3, 5), expected, "{source:?}");
        }
    }

    #[test]
    fn an_offset_at_the_end_is_just_behind_the_text() {
        let scalar = Scalar { text: "ab".into(), style: Style::Plain, source: "ab".into(), secret: false };
        assert_eq!(position(&scalar, 2, 1, 1), (1, 3));
    }
}
