//! The verbs that look at a job or at what it left behind, and start nothing: `check`, `generate`, `dead-letters`,
//! `schema`, `config`.
//!
//! Each is a function from its arguments and a place to write to, to an exit code. What goes wrong is an
//! [`InspectError`], for the caller to print on stderr; a reader that goes away (`caudal check … | head`) is no error.
//!
//! ```text
//! check        load ─▶ picture ─▶ memory ─▶ refusals ─▶ ddl, or stores (unless --offline)
//! generate     profile ─▶ events, paced ─▶ Target (kafka, http, file, stdout)
//! dead-letters embedded store ─▶ list | show | export
//! ```

mod base64;
pub mod check;
pub mod dead_letters;
pub mod documents;
mod error;
mod figures;
pub mod generate;
pub mod letter_store;
pub mod memory;
pub mod picture;
mod stores;
mod targets;

pub use check::{CheckArgs, check};
pub use dead_letters::{DeadLettersArgs, dead_letters};
pub use documents::{ConfigArgs, config, schema};
pub use error::InspectError;
pub use generate::{GenerateArgs, generate};
