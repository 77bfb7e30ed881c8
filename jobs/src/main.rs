//! The binary `caudal`: hands its arguments over and exits with what comes back.

fn main() -> std::process::ExitCode {
    caudal_jobs::cli::main()
}
