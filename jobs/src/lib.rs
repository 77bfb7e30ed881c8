//! What the binary `caudal` is made of; `main` only hands over to it.
pub mod inspect;
pub mod jobfile;
pub mod load;
pub mod run;
