//! Programs of the host, each with a time limit, and ended when nobody waits for it any more.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// Of what a program said, so much is told: the end, where the reason is.
const SAID_BYTES_MAX: usize = 1000;
/// How often a program that wants a device for itself is run before its refusal is believed.
const TRIES_MAX: u32 = 4;
const TRIES_PAUSE: Duration = Duration::from_millis(100);

/// How a program ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub printed: String,
    /// What it complained of.
    pub said: String,
}

/// Why a program did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum ProgramFault {
    /// It is not there, or may not be run.
    #[error("cannot run {program}: {source}; install the package it is in")]
    Missing {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It said no.
    #[error("{program} ended with {code}: {said}")]
    Refused {
        /// The program.
        program: String,
        /// Its exit code.
        code: i32,
        /// What it complained of.
        said: String,
    },
    /// Somebody ended it.
    #[error("{program} was ended by signal {signal}")]
    Killed {
        /// The program.
        program: String,
        /// Which signal.
        signal: i32,
    },
    /// It did not come to an end. It is killed and not waited for: who waits for a device that does not answer dies when
    /// that does.
    #[error("{program} did not end within {} s", limit.as_secs())]
    Stuck {
        /// The program.
        program: String,
        /// How long it was given.
        limit: Duration,
    },
}

/// Runs a program to its end, whatever its exit code is. It is killed when the caller goes.
///
/// # Errors
/// See [`ProgramFault`].
pub async fn run<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<Finished, ProgramFault> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(limit, command.output()).await {
        Ok(output) => output.map_err(|source| ProgramFault::Missing { program: program.to_owned(), source })?,
        Err(_) => return Err(ProgramFault::Stuck { program: program.to_owned(), limit }),
    };
    let Some(code) = output.status.code() else {
        let signal = output.status.signal().unwrap_or_default();
        return Err(ProgramFault::Killed { program: program.to_owned(), signal });
    };
    Ok(Finished { code, printed: text(&output.stdout), said: last(&text(&output.stderr)) })
}

/// Runs a program that must succeed; answers what it printed.
///
/// # Errors
/// See [`ProgramFault`].
pub async fn succeed<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<String, ProgramFault> {
    let finished = run(program, arguments, limit).await?;
    match finished.code {
        0 => Ok(finished.printed),
        _ => Err(finished.refused(program)),
    }
}

/// As [`succeed`], for programs that want a device for themselves. Somebody who looks for a free loop device claims each for an
/// instant before he sees that it is taken: whoever comes just then is told that it is in use. So a refusal is not believed
/// at once; the first one is told in the end.
///
/// # Errors
/// See [`ProgramFault`].
pub async fn insist(program: &str, arguments: &[&Path], limit: Duration) -> Result<String, ProgramFault> {
    let mut first = None;
    for _ in 0..TRIES_MAX {
        match succeed(program, arguments, limit).await {
            Err(refused @ ProgramFault::Refused { .. }) => first.get_or_insert(refused),
            ended => return ended,
        };
        sleep(TRIES_PAUSE).await;
    }
    Err(first.expect("it was tried, and refused each time"))
}

impl Finished {
    /// As a failure; some programs complain where they print.
    pub fn refused(self, program: &str) -> ProgramFault {
        let said = if self.said.is_empty() { last(&self.printed) } else { self.said };
        ProgramFault::Refused { program: program.to_owned(), code: self.code, said }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn last(text: &str) -> String {
    let from = (text.len().saturating_sub(SAID_BYTES_MAX)..=text.len()).find(|at| text.is_char_boundary(*at));
    text[from.unwrap_or_default()..].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::{Finished, ProgramFault, SAID_BYTES_MAX, last, run, succeed};

    const LIMIT: Duration = Duration::from_secs(20);

    fn block<T>(future: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn an_exit_code_and_what_was_said_are_told() {
        let finished = block(run("sh", ["-c", "echo out; echo bad >&2; exit 3"], LIMIT)).unwrap();
        assert_eq!(finished, Finished { code: 3, printed: "out".into(), said: "bad".into() });
        let fault = block(succeed("sh", ["-c", "echo only here; exit 1"], LIMIT)).unwrap_err();
        assert_eq!(fault.to_string(), "sh ended with 1: only here");
        assert!(matches!(
            block(run("sh", ["-c", "kill -9 $$"], LIMIT)).unwrap_err(),
            ProgramFault::Killed { signal: 9, .. }
        ));
        let missing = block(run("plinth-no-such-program", [""; 0], LIMIT)).unwrap_err();
        assert!(matches!(missing, ProgramFault::Missing { .. }), "{missing}");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id");
        let script = format!("echo $$ > {}; exec sleep 600", file.display());
        let id = block(async {
            let fault = run("sh", ["-c", &script], Duration::from_millis(500)).await.unwrap_err();
            assert!(matches!(fault, ProgramFault::Stuck { .. }), "{fault}");
            std::fs::read_to_string(&file).unwrap()
        });
        let stat = format!("/proc/{}/stat", id.trim());
        let deadline = std::time::Instant::now() + LIMIT;
        // It is gone, or dead and not reaped yet.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < deadline, "it still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn of_long_complaints_the_end_is_kept() {
        let long = format!("{}ä", "é".repeat(SAID_BYTES_MAX));
        let kept = last(&long);
        assert!(kept.ends_with('ä') && kept.len() <= SAID_BYTES_MAX && kept.len() > SAID_BYTES_MAX - 4);
        assert_eq!(last("short"), "short");
    }
}
