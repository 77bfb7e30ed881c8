//! `caudal schema` and `caudal config`: the job file's own JSON Schema, and a job as it is understood.

use super::error::InspectError;
use crate::jobfile::{json_schema::json_schema, resolved::resolved};
use crate::load;
use std::io::Write;
use std::path::PathBuf;

/// Print a job with everything included, overridden, substituted and filled in; secrets are masked.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// The job file, or a folder that holds `job.yaml`.
    pub job: PathBuf,
    /// Change a value of the job file, such as `streams.readings.lateness=2h`. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

/// Prints the JSON Schema of the job file, for editors and for checks elsewhere.
pub fn schema(out: &mut dyn Write) -> Result<u8, InspectError> {
    let schema = serde_json::to_string_pretty(&json_schema()).expect("JSON has a text");
    writeln!(out, "{schema}")?;
    Ok(0)
}

/// Prints the resolved job.
pub fn config(args: &ConfigArgs, out: &mut dyn Write) -> Result<u8, InspectError> {
    let job = load::job(&args.job, &args.set)?;
    out.write_all(resolved(&job).as_bytes())?;
    Ok(0)
}
