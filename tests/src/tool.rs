//! Other people's programs, each with a time limit, none outliving its test.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::wait;

/// Longest run of a tool that ends by itself.
const LIMIT_SECONDS: &str = "240";
/// Debian's Python, the one that has the libnbd module.
pub const PYTHON: &str = "/usr/bin/python3";

/// A tool's run, ready to get its arguments.
#[must_use]
pub fn tool(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", LIMIT_SECONDS, program]).stdin(Stdio::null());
    command
}

/// Runs a tool to its end, whatever that is.
///
/// # Panics
/// When it cannot be started.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a tool that must succeed; answers what it printed.
///
/// # Panics
/// When it fails, with all it said.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complained}", output.status);
    said
}

/// Runs a tool that must fail; answers its complaint.
///
/// # Panics
/// When it succeeds.
pub fn fail(command: &mut Command) -> String {
    let output = output(command);
    assert!(!output.status.success(), "{command:?} was to fail but succeeded:\n{}", text(&output.stdout));
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program that runs until this value goes: it dies even when the test itself is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts `program` with all its output going to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("the log can be written");
        let errors = output.try_clone().expect("a second handle");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code if it has ended; a signal's number is negative.
    pub fn ended(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.try_wait().expect("it is our child")?;
        Some(status.code().unwrap_or_else(|| -status.signal().expect("no code means a signal")))
    }

    /// Its exit code, when it ends within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        wait::within(limit, || self.ended())
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("the process lives");
    }

    /// Kills it outright and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
