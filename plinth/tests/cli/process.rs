//! Runs the program: to its end, or until it serves.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn plinth(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plinth"));
    command.args(args).current_dir(directory).env_remove("PLINTH_CONTROL").stdin(Stdio::null());
    command
}

pub fn run(directory: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = plinth(directory, args).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// A process that serves until it is told to stop, or this goes.
pub struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it said until it served.
    pub summary: String,
}

impl Serving {
    /// Waits until it has said something that ends with `last`.
    pub fn start(directory: &Path, args: &[&str], last: &str) -> Self {
        let mut child = plinth(directory, args).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut summary = String::new();
        while !summary.ends_with(last) {
            let read = stdout.read_line(&mut summary).expect("readable");
            assert_ne!(read, 0, "it ended: {:?} {summary}", child.wait());
        }
        Self { child, stdout, summary }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid")).expect("not 0");
        kill_process(pid, signal).expect("it runs");
    }

    pub fn wait(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                let mut rest = String::new();
                self.stdout.read_to_string(&mut rest).expect("readable");
                assert_eq!(rest, "", "nothing is printed after the summary");
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0));
    }

    /// The word of the summary that follows `before`.
    pub fn word_after(&self, before: &str) -> &str {
        let (_, rest) = self.summary.split_once(before).expect(before);
        rest.split([',', ' ', '\n', '/']).next().expect("a word")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks again and again until there is something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
