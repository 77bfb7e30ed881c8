//! Compiled parts of an expression: closures over the slots of a record, typed, null-aware, folded where constant.
//!
//! [`Code`] yields numbers, times, durations (all `i64`) and truth; [`TextCode`] yields text, borrowed from the slot or the
//! constant wherever it can be. Slots and constants are variants of their own, so that leaves cost a branch and not a call.
//! The combinators propagate null, and evaluate at once when all they combine is constant: then an error is a [`Fault`] of
//! the expression and not of a record.

use super::fault::{Fault, Place, Reason};
use crate::value::{FieldType, Value};
use compact_str::CompactString;
use std::ops::Deref;

/// A value, null, or no value at all.
pub(super) type Outcome<T> = Result<Option<T>, Fault>;

type Function<T> = Box<dyn Fn(&[Value]) -> Outcome<T> + Send + Sync>;

/// Code that yields a small value.
pub(super) enum Code<T> {
    Slot(usize),
    Constant(Option<T>),
    Call(Function<T>),
}

/// What a slot can hold by value: `Some(None)` is null, `None` is a value of another type.
pub(super) trait Scalar: Copy + Send + Sync + 'static {
    fn of(value: &Value) -> Option<Option<Self>>;
}

impl Scalar for bool {
    fn of(value: &Value) -> Option<Option<bool>> {
        match value {
            Value::Bool(b) => Some(Some(*b)),
            Value::Null => Some(None),
            _ => None,
        }
    }
}

impl Scalar for i64 {
    fn of(value: &Value) -> Option<Option<i64>> {
        match value {
            Value::Decimal(v) | Value::Time(v) => Some(Some(*v)),
            Value::Null => Some(None),
            _ => None,
        }
    }
}

#[cold]
fn foreign(slot: usize) -> Fault {
    Place::from(&(0..usize::MAX)).fault(Reason::ForeignSlot(slot))
}

impl<T: Scalar> Code<T> {
    /// The value for these slots.
    #[inline]
    pub fn get(&self, slots: &[Value]) -> Outcome<T> {
        match self {
            Code::Slot(slot) => T::of(&slots[*slot]).ok_or_else(|| foreign(*slot)),
            Code::Constant(value) => Ok(*value),
            Code::Call(function) => function(slots),
        }
    }

    pub fn is_constant(&self) -> bool {
        matches!(self, Code::Constant(_))
    }

    /// Code of any shape; evaluated now if all that it reads is constant.
    pub fn computed(constant: bool, f: impl Fn(&[Value]) -> Outcome<T> + Send + Sync + 'static) -> Result<Code<T>, Fault> {
        if constant { f(&[]).map(Code::Constant) } else { Ok(Code::Call(Box::new(f))) }
    }

    /// A function of a value; null stays null.
    pub fn map<U: Scalar>(self, f: impl Fn(T) -> Result<U, Fault> + Send + Sync + 'static) -> Result<Code<U>, Fault> {
        Code::computed(self.is_constant(), move |slots| self.get(slots)?.map(&f).transpose())
    }

    /// A function of two values; null if either is. Both are evaluated, so that an error is not hidden by a null.
    pub fn zip<U: Scalar, V: Scalar>(
        self,
        other: Code<U>,
        f: impl Fn(T, U) -> Result<V, Fault> + Send + Sync + 'static,
    ) -> Result<Code<V>, Fault> {
        if let (false, Code::Constant(Some(right))) = (self.is_constant(), &other) {
            let right = *right;
            return self.map(move |left| f(left, right));
        }
        Code::computed(self.is_constant() && other.is_constant(), move |slots| match (self.get(slots)?, other.get(slots)?) {
            (Some(left), Some(right)) => f(left, right).map(Some),
            _ => Ok(None),
        })
    }

    /// A function of a value that gives text.
    pub fn write(self, f: impl Fn(T) -> Result<CompactString, Fault> + Send + Sync + 'static) -> Result<TextCode, Fault> {
        TextCode::computed(self.is_constant(), move |slots| self.get(slots)?.map(&f).transpose())
    }

    /// One of two by a condition; null if the condition is.
    pub fn choose(condition: Code<bool>, yes: Code<T>, no: Code<T>) -> Code<T> {
        match condition {
            Code::Constant(Some(true)) => yes,
            Code::Constant(Some(false)) => no,
            Code::Constant(None) => Code::Constant(None),
            condition => Code::Call(Box::new(move |slots| match condition.get(slots)? {
                Some(true) => yes.get(slots),
                Some(false) => no.get(slots),
                None => Ok(None),
            })),
        }
    }

    /// Whether the value is null.
    pub fn is_null(self) -> Code<bool> {
        match self {
            Code::Slot(slot) => slot_is_null(slot),
            Code::Constant(value) => Code::Constant(Some(value.is_none())),
            Code::Call(function) => Code::Call(Box::new(move |slots| function(slots).map(|value| Some(value.is_none())))),
        }
    }
}

fn slot_is_null(slot: usize) -> Code<bool> {
    Code::Call(Box::new(move |slots| Ok(Some(slots[slot] == Value::Null))))
}

/// Code that yields text.
pub(super) enum TextCode {
    Slot(usize),
    Constant(Option<CompactString>),
    Call(Function<CompactString>),
    /// Kept apart from calls because it passes on what its branches borrow.
    Choice(Box<(Code<bool>, TextCode, TextCode)>),
}

/// Text that is borrowed if it was there before.
pub(super) enum Piece<'a> {
    Borrowed(&'a str),
    Owned(CompactString),
}

impl Deref for Piece<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Piece::Borrowed(text) => text,
            Piece::Owned(text) => text,
        }
    }
}

impl From<Piece<'_>> for CompactString {
    fn from(piece: Piece<'_>) -> CompactString {
        match piece {
            Piece::Borrowed(text) => text.into(),
            Piece::Owned(text) => text,
        }
    }
}

impl TextCode {
    /// The text for these slots.
    pub fn get<'a>(&'a self, slots: &'a [Value]) -> Outcome<Piece<'a>> {
        match self {
            TextCode::Slot(slot) => match &slots[*slot] {
                Value::Text(text) => Ok(Some(Piece::Borrowed(text))),
                Value::Null => Ok(None),
                _ => Err(foreign(*slot)),
            },
            TextCode::Constant(text) => Ok(text.as_deref().map(Piece::Borrowed)),
            TextCode::Call(function) => Ok(function(slots)?.map(Piece::Owned)),
            TextCode::Choice(choice) => match choice.0.get(slots)? {
                Some(true) => choice.1.get(slots),
                Some(false) => choice.2.get(slots),
                None => Ok(None),
            },
        }
    }

    pub fn is_constant(&self) -> bool {
        matches!(self, TextCode::Constant(_))
    }

    /// As [`Code::computed`].
    pub fn computed(
        constant: bool,
        f: impl Fn(&[Value]) -> Outcome<CompactString> + Send + Sync + 'static,
    ) -> Result<TextCode, Fault> {
        if constant { f(&[]).map(TextCode::Constant) } else { Ok(TextCode::Call(Box::new(f))) }
    }

    /// A function of a text; null stays null.
    pub fn read<U: Scalar>(self, f: impl Fn(&str) -> Result<U, Fault> + Send + Sync + 'static) -> Result<Code<U>, Fault> {
        Code::computed(self.is_constant(), move |slots| self.get(slots)?.map(|text| f(&text)).transpose())
    }

    /// A function of two texts; null if either is.
    pub fn read_with<U: Scalar>(
        self,
        other: TextCode,
        f: impl Fn(&str, &str) -> Result<U, Fault> + Send + Sync + 'static,
    ) -> Result<Code<U>, Fault> {
        Code::computed(self.is_constant() && other.is_constant(), move |slots| match (self.get(slots)?, other.get(slots)?) {
            (Some(left), Some(right)) => f(&left, &right).map(Some),
            _ => Ok(None),
        })
    }

    /// A function from text to text.
    pub fn rewrite(self, f: impl Fn(&str) -> Result<CompactString, Fault> + Send + Sync + 'static) -> Result<TextCode, Fault> {
        TextCode::computed(self.is_constant(), move |slots| self.get(slots)?.map(|text| f(&text)).transpose())
    }

    /// As [`Code::choose`].
    pub fn choose(condition: Code<bool>, yes: TextCode, no: TextCode) -> TextCode {
        match condition {
            Code::Constant(Some(true)) => yes,
            Code::Constant(Some(false)) => no,
            Code::Constant(None) => TextCode::Constant(None),
            condition => TextCode::Choice(Box::new((condition, yes, no))),
        }
    }

    /// Whether the text is null.
    pub fn is_null(self) -> Code<bool> {
        match self {
            TextCode::Slot(slot) => slot_is_null(slot),
            TextCode::Constant(text) => Code::Constant(Some(text.is_none())),
            code => Code::Call(Box::new(move |slots| code.get(slots).map(|text| Some(text.is_none())))),
        }
    }
}

/// Code of a known type. A duration is known inside expressions only.
pub(super) enum Typed {
    /// The literal `null`.
    Null,
    Bool(Code<bool>),
    /// Scaled by the second.
    Decimal(Code<i64>, u8),
    Text(TextCode),
    /// Microseconds since 1970.
    Time(Code<i64>),
    /// Microseconds.
    Duration(Code<i64>),
}

impl Typed {
    /// The type of the field that could hold it; `None` for null. Durations are refused before anyone asks.
    pub fn field_type(&self) -> Option<FieldType> {
        match self {
            Typed::Null | Typed::Duration(_) => None,
            Typed::Bool(_) => Some(FieldType::Bool),
            Typed::Decimal(_, scale) => Some(FieldType::Decimal(*scale)),
            Typed::Text(_) => Some(FieldType::Text),
            Typed::Time(_) => Some(FieldType::Time),
        }
    }

    /// The type in words, for messages.
    pub fn words(&self) -> &'static str {
        match self {
            Typed::Null => "null",
            Typed::Bool(_) => "a bool",
            Typed::Decimal(..) => "a number",
            Typed::Text(_) => "a text",
            Typed::Time(_) => "a time",
            Typed::Duration(_) => "a duration",
        }
    }

    /// The value for these slots.
    pub fn value(&self, slots: &[Value]) -> Result<Value, Fault> {
        let value = match self {
            Typed::Null => None,
            Typed::Bool(code) => code.get(slots)?.map(Value::Bool),
            Typed::Decimal(code, _) | Typed::Duration(code) => code.get(slots)?.map(Value::Decimal),
            Typed::Time(code) => code.get(slots)?.map(Value::Time),
            Typed::Text(code) => code.get(slots)?.map(|text| Value::Text(text.into())),
        };
        Ok(value.unwrap_or(Value::Null))
    }

    /// Whether the value is null.
    pub fn is_null(self) -> Code<bool> {
        match self {
            Typed::Null => Code::Constant(Some(true)),
            Typed::Bool(code) => code.is_null(),
            Typed::Decimal(code, _) | Typed::Time(code) | Typed::Duration(code) => code.is_null(),
            Typed::Text(code) => code.is_null(),
        }
    }
}
