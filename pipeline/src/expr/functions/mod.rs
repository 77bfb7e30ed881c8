//! The functions of expressions, and what is said about those that are absent.
//!
//! [`table`] finds a function by name and style of call and checks its number of arguments; the others build code from
//! typed arguments. Null arguments give null. Everything is a function of its arguments alone: no clock, no randomness, and
//! time zones come from the bundled database only.
//!
//! | of | functions |
//! |---|---|
//! | conversions | `int decimal string bool timestamp duration` |
//! | numbers | `abs sign round floor ceil trunc min max least greatest`, also as `math.abs` and so on |
//! | text | `size contains startsWith endsWith matches lowerAscii upperAscii trim replace substring indexOf charAt` |
//! | time | `getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds` |
//! | null | `has` |

mod conversions;
mod numbers;
mod table;
mod texts;
mod times;

pub(super) use table::call;
