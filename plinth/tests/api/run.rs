//! Runs the program.

use std::process::{Command, Output, Stdio};

/// What a run said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn plinth(control: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plinth"));
    command.args(line.split_whitespace()).env("PLINTH_CONTROL", control).env_remove("PLINTH_LOG").stdin(Stdio::null());
    command
}

/// `line` is the command without the program's name.
pub fn run(control: &str, line: &str) -> Ran {
    let Output { status, stdout, stderr } = plinth(control, line).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code().expect("it was not killed"), out: text(stdout), err: text(stderr) }
}

/// A run that must succeed; answers what it printed.
pub fn ok(control: &str, line: &str) -> String {
    let ran = run(control, line);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}: {ran:?}");
    ran.out
}
