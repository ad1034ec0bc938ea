//! What the kernel tells of its nbd devices, in /sys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where block devices are told of.
const SYSTEM: &str = "/sys/block";

/// /dev/nbdN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device(pub u32);

impl Device {
    /// By its path.
    pub fn named(path: &Path) -> Option<Self> {
        let index = path.to_str()?.strip_prefix("/dev/nbd")?.parse().ok()?;
        Some(Self(index))
    }

    /// The connected device that was made with this identifier.
    pub fn of_backend(backend: &str) -> io::Result<Option<Self>> {
        for entry in fs::read_dir(SYSTEM)? {
            let name = entry?.file_name();
            let index = name.to_str().and_then(|name| name.strip_prefix("nbd")).and_then(|index| index.parse().ok());
            if let Some(device) = index.map(Self)
                && device.is_of(backend)
            {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }

    /// Its path.
    pub fn path(self) -> PathBuf {
        PathBuf::from(format!("/dev/nbd{}", self.0))
    }

    /// Whether it is connected, and was made with this identifier. A kernel before 5.14 keeps none, and finds nothing.
    pub fn is_of(self, backend: &str) -> bool {
        self.is_connected() && self.read("backend").is_some_and(|found| found.trim_end() == backend)
    }

    /// Whether it has a server, dead or alive.
    pub fn is_connected(self) -> bool {
        self.read("pid").is_some()
    }

    /// What came and went so far, and how many requests are under way.
    pub fn traffic(self) -> Option<(String, u64)> {
        let under_way = self.read("inflight")?.split_whitespace().filter_map(|count| count.parse::<u64>().ok()).sum();
        let stat = self.read("stat")?;
        let fields: Vec<&str> = stat.split_whitespace().collect();
        // Requests that ended: reads, writes, discards, flushes.
        let ended = [0, 4, 11, 15].iter().filter_map(|at| fields.get(*at)).copied().collect::<Vec<_>>().join(" ");
        Some((ended, under_way))
    }

    /// How soon the driver looks at a request again that has no answer. It gives a request that was sent on a dead
    /// connection to the living one then, and not before.
    pub fn look_after_ms(self, ms: u32) -> io::Result<()> {
        fs::write(self.file("queue/io_timeout"), ms.to_string())
    }

    fn read(self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok()
    }

    fn file(self, name: &str) -> PathBuf {
        Path::new(SYSTEM).join(format!("nbd{}", self.0)).join(name)
    }
}
