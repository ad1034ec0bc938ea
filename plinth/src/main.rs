//! The plinth command.
#![allow(clippy::print_stderr, reason = "this is the program that talks to people")]

mod args;
mod dev;
mod logging;
mod null;
mod output;
mod pool;
mod serve;
mod size;
mod summary;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    logging::start(args.verbose);
    let done = match &args.command {
        Command::Dev(args) => dev::run(args),
        Command::Pool(command) => pool::run(command),
        Command::Null(args) => null::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("plinth: {}", sentence(&error));
        ExitCode::FAILURE
    })
}

/// What went wrong and why, each cause once: some errors tell theirs themselves.
fn sentence(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::sentence;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow!("no space").context("cannot write: no space").context("cannot make the pool");
        assert_eq!(sentence(&error), "cannot make the pool: cannot write: no space");
    }
}
