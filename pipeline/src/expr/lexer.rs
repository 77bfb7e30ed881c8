//! Text into tokens, by CEL's lexical rules, with every lexical mistake reported and skipped.
//!
//! Beyond CEL a name may begin with `$` (a message's metadata), and operators of other languages (`=`, `<>`, a single `&`)
//! are recognised in order to say what to write instead.

use super::ExprError;
use super::literal;
use compact_str::CompactString;
use std::ops::Range;

/// The smallest piece of an expression that means something.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number {
        unscaled: i64,
        scale: u8,
    },
    Text(CompactString),
    Name(CompactString),
    /// An operator, a bracket, or one of the words `true false null in`.
    Symbol(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<` and `=`.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")", "[", "]", ",", ".", "{", "}",
];
const WORDS: [&str; 4] = ["true", "false", "null", "in"];
const FOREIGN: [(&str, &str); 6] = [
    ("<>", "not equal is written `!=`"),
    ("=", "equality is written `==`"),
    ("&", "«and» is written `&&`"),
    ("|", "«or» is written `||`"),
    (";", "an expression is one value and has no `;`"),
    ("^", "there is no power operator: write the multiplication"),
];

/// All tokens with their places, the last one `End`; or every lexical mistake.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Vec<ExprError>> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), errors: Vec::new() };
    while lexer.skip_blank() {
        lexer.next();
    }
    if !lexer.errors.is_empty() {
        return Err(lexer.errors);
    }
    lexer.tokens.push((Token::End, text.len()..text.len()));
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<(Token, Range<usize>)>,
    errors: Vec<ExprError>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Passes white space and comments; false at the end of the text.
    fn skip_blank(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
            let comment =
                if rest[blank..].starts_with("//") { rest[blank..].find('\n').unwrap_or(rest.len() - blank) } else { 0 };
            self.at += blank + comment;
            if comment == 0 {
                return self.at < self.text.len();
            }
        }
    }

    fn next(&mut self) {
        let rest = self.rest();
        let (first, second) = (rest.as_bytes()[0], rest.as_bytes().get(1).copied().unwrap_or(0));
        if first.is_ascii_digit() || (first == b'.' && second.is_ascii_digit()) {
            let length = number_length(rest);
            let number = literal::number(&rest[..length]).map(|(unscaled, scale)| Token::Number { unscaled, scale });
            self.push(length, number);
        } else if let Some(opening) = literal::Opening::of(rest) {
            let (length, content) = opening.read(rest);
            self.push(length, content.map(Token::Text));
        } else if rest.starts_with(|c: char| c == '$' || c == '_' || c.is_alphabetic()) {
            self.name();
        } else if first == b'`' {
            self.quoted_name();
        } else {
            self.symbol();
        }
    }

    fn name(&mut self) {
        let rest = self.rest();
        let begin = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest[begin..].find(|c: char| c != '_' && !c.is_alphanumeric()).map_or(rest.len(), |end| begin + end);
        let name = &rest[..end];
        let token = match WORDS.into_iter().find(|word| *word == name) {
            Some(word) => Token::Symbol(word),
            None => Token::Name(name.into()),
        };
        self.push(
            end,
            if name == "$" { Err("a `$` without a name: write `$topic` or `$header.name`".into()) } else { Ok(token) },
        );
    }

    /// A name in back quotes may hold what CEL allows there: letters, digits and `_ . - / $` and space.
    fn quoted_name(&mut self) {
        let rest = self.rest();
        let Some(end) = rest[1..].find('`') else {
            return self.push(rest.len(), Err("the name has no closing back quote".into()));
        };
        let name = &rest[1..=end];
        let known = |c: char| c.is_alphanumeric() || "_.-/ $".contains(c);
        let token = if name.is_empty() || !name.chars().all(known) {
            Err("a name in back quotes holds letters, digits, spaces and `_ . - / $`".into())
        } else {
            Ok(Token::Name(name.into()))
        };
        self.push(end + 2, token);
    }

    fn symbol(&mut self) {
        let rest = self.rest();
        let foreign = FOREIGN.into_iter().find(|(symbol, _)| rest.starts_with(symbol) && !is_known(rest, symbol));
        if let Some((symbol, remedy)) = foreign {
            self.push(symbol.len(), Err(format!("`{symbol}` is no operator here: {remedy}")));
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            self.push(symbol.len(), Ok(Token::Symbol(symbol)));
        } else {
            let odd = rest.chars().next().expect("next is called before the end only");
            let shown = odd.escape_debug();
            self.push(odd.len_utf8(), Err(format!("`{shown}` has no meaning here: remove it, or quote it as text")));
        }
    }

    fn push(&mut self, length: usize, token: Result<Token, String>) {
        let span = self.at..self.at + length;
        self.at = span.end;
        match token {
            Ok(token) => self.tokens.push((token, span)),
            Err(message) => self.errors.push(ExprError { span, message }),
        }
    }
}

/// Whether a foreign symbol is only the beginning of one that is known: `=` of `==`, `&` of `&&`.
fn is_known(rest: &str, foreign: &str) -> bool {
    SYMBOLS.into_iter().any(|symbol| symbol.len() > foreign.len() && symbol.starts_with(foreign) && rest.starts_with(symbol))
}

/// How far a number reaches; letters and digits that follow directly belong to it, to be refused as a whole.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
    let mut end = 0;
    while let Some(&byte) = bytes.get(end) {
        let next_is_digit = bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        let exponent_sign =
            matches!(byte, b'+' | b'-') && !hexadecimal && end > 0 && matches!(bytes[end - 1], b'e' | b'E') && next_is_digit;
        let point = byte == b'.' && next_is_digit && !bytes[..end].contains(&b'.');
        if !(byte.is_ascii_alphanumeric() || byte == b'_' || exponent_sign || point) {
            break;
        }
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        tokens(text).expect(text).into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn symbols_words_and_names_are_told_apart() {
        use Token::{End, Name, Symbol};
        let name = |text: &str| Name(text.into());
        assert_eq!(kinds("a<=b"), [name("a"), Symbol("<="), name("b"), End]);
        assert_eq!(kinds("in inn `in`"), [Symbol("in"), name("inn"), name("in"), End]);
        assert_eq!(kinds("$header.X // tail\n!x"), [name("$header"), Symbol("."), name("X"), Symbol("!"), name("x"), End]);
        assert_eq!(kinds("//"), [End]);
        assert_eq!(kinds("größe"), [name("größe"), End]);
    }

    #[test]
    fn numbers_end_where_they_should() {
        let number = |unscaled, scale| Token::Number { unscaled, scale };
        assert_eq!(kinds("1-2"), [number(1, 0), Token::Symbol("-"), number(2, 0), Token::End]);
        assert_eq!(kinds("1e-2"), [number(1, 2), Token::End]);
        assert_eq!(kinds("0xE-2"), [number(14, 0), Token::Symbol("-"), number(2, 0), Token::End]);
        assert_eq!(kinds(".5"), [number(5, 1), Token::End]);
    }

    #[test]
    fn every_lexical_mistake_is_reported_at_its_place() {
        let errors = tokens("a = 1 & b # 'open").unwrap_err();
        let spans: Vec<_> = errors.iter().map(|e| e.span.clone()).collect();
        assert_eq!(spans, [2..3, 6..7, 10..11, 12..17], "{errors:?}");
        assert!(errors[0].message.contains("`==`"));
    }
}
