//! Log lines: on stderr, for people or as JSON, as much as `RUST_LOG` asks for.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// What is told unless `RUST_LOG` says otherwise: changes of state of caudal, trouble of anything else.
const DEFAULT: &str = "warn,caudal=info";

/// Sends log lines to stderr from now on, as JSON objects if asked. To be called once, before anything is started.
pub fn init(json: bool) -> Result<(), String> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter(wanted.as_deref())?).with_writer(std::io::stderr);
    // A line that cannot be written would be complained of on the same stderr, with a panic.
    let lines = lines.log_internal_errors(false);
    let installed = if json {
        lines.json().flatten_event(true).finish().try_init()
    } else {
        lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).finish().try_init()
    };
    installed.map_err(|error| format!("cannot set up logging: {error}"))
}

fn filter(wanted: Option<&str>) -> Result<EnvFilter, String> {
    let text = wanted.unwrap_or(DEFAULT);
    EnvFilter::try_new(text).map_err(|error| format!("RUST_LOG={text}: {error}; write such as `info` or `warn,caudal=debug`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_names_all_crates_of_caudal() {
        assert_eq!(filter(None).unwrap().to_string(), "caudal=info,warn");
        // A directive holds for every target that begins with it, so for caudal_pipeline too.
        assert!(module_path!().starts_with("caudal"));
    }

    #[test]
    fn a_wrong_filter_is_told_with_its_remedy() {
        let said = filter(Some("caudal=loud")).unwrap_err();
        assert!(said.contains("RUST_LOG=caudal=loud") && said.contains("caudal=debug"), "{said}");
    }
}
