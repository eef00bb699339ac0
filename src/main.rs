use clap::Parser;
use normfree::cli::{Cli, explain_panics, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    explain_panics();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::from(fault.exit_code())
        }
    }
}
