//! The plinth command.
#![allow(clippy::print_stderr, reason = "this is the program that talks to people")]

mod archives;
mod args;
mod commands;
mod daemon;
mod dev;
mod exit;
mod host;
mod logging;
mod null;
mod output;
mod progress;
mod serve;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::args::{Args, Command, PoolCommand};
use crate::exit::Exit;

/// A write takes memory for its blocks on every node it comes to, and for messages: this is quicker at it than libc.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    logging::start(args.verbose);
    run(&args.command).unwrap_or_else(|error| {
        complain(&sentence(&error));
        Exit::of(&error).into()
    })
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Dev(args) => dev::run(args),
        Command::Control(args) => daemon::control::run(args),
        Command::Storage(args) => daemon::storage::run(args),
        Command::Csi(args) => daemon::csi::run(args),
        Command::Volume(args) => commands::volume(args),
        Command::Snapshot(args) => commands::snapshot(args),
        Command::Attach(args) => host::attach(args),
        Command::Detach(args) => host::detach(args),
        Command::Attachments(args) => host::attachments(args),
        Command::Node(args) => commands::node(args),
        Command::Pool(PoolCommand::List(args)) => commands::pools(args),
        Command::Pool(PoolCommand::Remove(args)) => commands::remove_pool(args),
        Command::Pool(PoolCommand::Inspect(args)) => commands::offline::inspect(args),
        Command::Pool(PoolCommand::Check(args)) => commands::offline::check(args),
        Command::Operation(args) => commands::operation(args),
        Command::Cluster(args) => commands::cluster(args),
        Command::Status(args) => commands::status(args),
        Command::Explain(args) => commands::explain(args),
        Command::Completions { shell } => commands::completions(*shell),
        Command::Null(args) => null::run(args),
    }
}

/// Says on standard error what did not work out.
fn complain(sentence: &str) {
    eprintln!("plinth: {sentence}");
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
