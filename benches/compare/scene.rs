//! Where and how large everything is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::peer::Peer;

/// The choices of this run, and the folder that goes with it.
#[derive(Debug)]
pub struct Scene {
    /// How often every job goes to every peer.
    pub rounds: u32,
    /// Length of a timed job.
    pub job_time: Duration,
    /// Size of a volume.
    pub volume_bytes: u64,
    folder: TempDir,
    peers: Vec<Peer>,
}

impl Scene {
    /// Reads the environment.
    ///
    /// # Panics
    /// When a variable makes no sense or the folder cannot be made.
    pub fn from_environment() -> Self {
        let folder = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder =
            tempfile::Builder::new().prefix("plinth-bench-").tempdir_in(folder).expect("a folder for the files");
        let peers = std::env::var("PEERS").ok();
        let named = |name: &str| Peer::named(name).unwrap_or_else(|| panic!("PEERS: nobody is called {name}"));
        Self {
            rounds: u32::try_from(number("ROUNDS", 3)).expect("a few rounds"),
            job_time: Duration::from_secs(number("JOB_SECONDS", 5)),
            volume_bytes: number("SIZE_GIB", 2) << 30,
            folder,
            peers: peers.map_or_else(|| Peer::ALL.to_vec(), |names| names.split(',').map(named).collect()),
        }
    }

    /// Who takes part.
    pub fn peers(&self) -> Vec<Peer> {
        self.peers.clone()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Plinth's pool: three times the volume, so that reclaim takes part in the long run.
    pub fn pool_bytes(&self) -> u64 {
        self.volume_bytes * 3
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number: {text}")))
}

/// The program under test: `PLINTH_BIN`, or the one beside this program in the target folder.
///
/// # Panics
/// When it is not there.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("PLINTH_BIN") {
        return PathBuf::from(path);
    }
    let program = std::env::current_exe().expect("this program has a path").with_file_name("plinth");
    assert!(program.exists(), "{} is not built: cargo build --release -p plinth", program.display());
    program
}
