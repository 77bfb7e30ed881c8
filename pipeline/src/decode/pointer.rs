//! JSON pointers (RFC 6901), taken apart once and followed for every record.

use serde_json::Value as Json;

/// A parsed pointer. The empty text is the whole value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

/// One step: a key of an object or, where it has the form of one, an index into an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// The step, unescaped.
    pub key: String,
    index: Option<usize>,
}

impl Pointer {
    /// Reads `/a~1b/0`; the error says what is wrong and how it should look.
    pub fn parse(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer::default());
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("`{text}` is not a JSON pointer: it must begin with `/`, as in `/{text}`"));
        };
        let tokens = rest.split('/').map(|step| Token::parse(step, text)).collect::<Result<_, _>>()?;
        Ok(Pointer { text: text.to_owned(), tokens })
    }

    /// The value there, if there is one.
    pub fn get<'a>(&self, value: &'a Json) -> Option<&'a Json> {
        self.tokens.iter().try_fold(value, |at, token| match at {
            Json::Object(map) => map.get(&token.key),
            Json::Array(items) => items.get(token.index?),
            _ => None,
        })
    }

    /// What is left of it below `top`, if it leads there.
    pub fn below(&self, top: &Pointer) -> Option<Pointer> {
        let tokens = self.tokens.strip_prefix(top.tokens.as_slice())?.to_vec();
        Some(Pointer { text: self.text[top.text.len()..].to_owned(), tokens })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its steps in order.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }
}

impl Token {
    /// The index into an array that it may be.
    pub fn index(&self) -> Option<usize> {
        self.index
    }

    fn parse(step: &str, whole: &str) -> Result<Token, String> {
        let mut escapes = step.split('~').skip(1);
        if !escapes.all(|after| after.starts_with(['0', '1'])) {
            return Err(format!("`{whole}` is not a JSON pointer: `~` must be written `~0` and a `/` within a name `~1`"));
        }
        let key = step.replace("~1", "/").replace("~0", "~");
        let canonical = key == "0" || (!key.starts_with('0') && !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()));
        let index = if canonical { key.parse().ok() } else { None };
        Ok(Token { key, index })
    }
}

/// A name as one step of a pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        let document = crate::decode::json::parse(text.as_bytes()).unwrap();
        for (pointer, expected) in [
            ("/foo/0", "\"bar\""),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(Pointer::parse(pointer).unwrap().get(&document).unwrap().to_string(), expected, "{pointer}");
        }
        assert_eq!(Pointer::parse("").unwrap().get(&document), Some(&document));
        for pointer in ["/foo/00", "/foo/-", "/foo/2", "/foo/+1", "/nothing", "/m~0n/x"] {
            assert_eq!(Pointer::parse(pointer).unwrap().get(&document), None, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for pointer in ["foo", "/a~2", "/a~", "#/a"] {
            assert!(Pointer::parse(pointer).is_err(), "{pointer}");
        }
    }
}
