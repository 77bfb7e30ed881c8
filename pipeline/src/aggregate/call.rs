//! Cuts `name(argument, …)` at its brackets and commas, whatever the pieces say, and keeps where each piece is.

use std::ops::Range;

/// A part of the text and where it is.
#[derive(Clone, Copy)]
pub struct Piece<'t> {
    /// What it says.
    pub text: &'t str,
    start: usize,
}

impl<'t> Piece<'t> {
    /// All of a text but the blanks around it.
    pub fn whole(text: &'t str) -> Piece<'t> {
        Piece { text, start: 0 }.trim()
    }

    /// What comes before `mark`, or all of it.
    pub fn before(self, mark: char) -> Piece<'t> {
        self.part(0, self.text.find(mark).unwrap_or(self.text.len())).trim()
    }

    /// This part without the blanks around it.
    fn trim(self) -> Piece<'t> {
        let left = self.text.trim_start();
        Piece { text: left.trim_end(), start: self.start + (self.text.len() - left.len()) }
    }

    /// The bytes from `from` to `to` of this part.
    fn part(self, from: usize, to: usize) -> Piece<'t> {
        Piece { text: &self.text[from..to], start: self.start + from }
    }

    /// Its bytes in the text.
    pub fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The parts between the commas that are not inside brackets.
    fn split(self) -> Vec<Piece<'t>> {
        let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0);
        for (at, c) in self.text.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(self.part(from, at).trim());
                    from = at + 1;
                }
                _ => {}
            }
        }
        parts.push(self.part(from, self.text.len()).trim());
        parts
    }

    /// `name: value`, cut at the colon; `None` for `a ? b : c` and the like.
    pub fn named(self) -> Option<(Piece<'t>, Piece<'t>)> {
        let name = self.before(':');
        let plain = name.text.chars().all(|c| c.is_alphanumeric() || c == '_');
        let colon = self.text.find(':').filter(|_| plain)?;
        Some((name, self.part(colon + 1, self.text.len()).trim()))
    }
}

/// A call's insides.
pub struct Call<'t> {
    /// Between the brackets, cut at the commas.
    pub arguments: Vec<Piece<'t>>,
    /// After the closing bracket; `None` if that is missing.
    pub rest: Option<Piece<'t>>,
}

impl<'t> Call<'t> {
    /// Cuts a text at its first bracket and the one that closes it; `None` if it has none.
    pub fn cut(whole: Piece<'t>) -> Option<Call<'t>> {
        let (open, end) = (whole.text.find('(')?, whole.text.len());
        let close = closing(whole.text, open);
        let inner = whole.part(open + 1, close.unwrap_or(end)).trim();
        let arguments = if inner.text.is_empty() { Vec::new() } else { inner.split() };
        Some(Call { arguments, rest: close.map(|close| whole.part(close + 1, end).trim()) })
    }
}

/// Where the bracket that opens at `open` closes.
fn closing(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().skip_while(|(at, _)| *at < open).find_map(|(at, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        (depth == 0).then_some(at)
    })
}
