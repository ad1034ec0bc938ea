//! What a host keeps of an attachment, in a folder of its own: enough to find the device again, and to undo everything,
//! after any process died at any moment.
//!
//! ```text
//!   FOLDER/NAME/record.json   what is attached, with the token: readable by root only
//!   FOLDER/NAME/agent         locked by the process that keeps the device; its number is in it
//!   FOLDER/NAME/fuse/         where the method fuse mounts its file
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// How a volume becomes a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The kernel's NBD client.
    Nbd,
    /// A file that we serve by FUSE, and a loop device.
    Fuse,
}

/// Between two looks at who holds a lock.
const STEP: Duration = Duration::from_millis(10);
const CLAIM_TRIES: u32 = 20;
/// Version of the record.
const VERSION: u32 = 1;

/// An attachment of this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Of this structure: a program that does not know it leaves it alone.
    pub version: u32,
    /// The volume's name.
    pub name: String,
    /// Who we are to the cluster.
    pub client: String,
    /// What lets us in: 32 hexadecimal digits.
    pub token: String,
    /// The volume's number; 0 until the cluster has answered.
    pub volume: u64,
    /// The cluster's number of this attachment; 0 until it has answered.
    pub generation: u64,
    /// The volume's size as it was known last.
    pub size_bytes: u64,
    /// Whether it is for reading only.
    pub read_only: bool,
    /// How.
    pub method: Method,
    /// /dev/nbdN, where that was asked for.
    pub index: Option<u32>,
    /// The device, once it is there.
    pub device: Option<PathBuf>,
    /// Where the cluster's nodes took clients.
    pub addresses: Vec<String>,
    /// Whether it is being detached: then nobody makes the device again.
    pub ending: bool,
}

impl Record {
    /// Before the cluster was asked.
    #[must_use]
    pub fn new(name: &str, client: &str, token: String, method: Method) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            client: client.to_owned(),
            token,
            volume: 0,
            generation: 0,
            size_bytes: 0,
            read_only: false,
            method,
            index: None,
            device: None,
            addresses: Vec::new(),
            ending: false,
        }
    }

    /// The NBD export.
    #[must_use]
    pub fn export(&self) -> String {
        format!("{}@{}", self.name, self.token)
    }

    /// By which the kernel knows the device.
    #[must_use]
    pub fn backend(&self) -> String {
        format!("plinth {} {} {}", self.volume, self.name, self.client)
    }
}

/// The folder of one attachment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// Of the volume of this name; names of volumes are names of files.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self(folder.join(name))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Those of the same host's other attachments.
    ///
    /// # Errors
    /// The folder that they are in cannot be read.
    pub fn others(&self) -> io::Result<Vec<Self>> {
        let Some(folder) = self.0.parent() else { return Ok(Vec::new()) };
        let places = fs::read_dir(folder)?.map(|entry| entry.map(|entry| Self(entry.path())));
        let all: Vec<Self> = places.collect::<io::Result<_>>()?;
        Ok(all.into_iter().filter(|place| place != self).collect())
    }

    /// What is kept there, if anything is.
    ///
    /// # Errors
    /// It cannot be read, or is of another version.
    pub fn read(&self) -> io::Result<Option<Record>> {
        let text = match fs::read(self.0.join("record.json")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: Record = serde_json::from_slice(&text)?;
        if record.version != VERSION {
            let said =
                format!("{} is of version {}, and this program knows {VERSION}", self.0.display(), record.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, said));
        }
        Ok(Some(record))
    }

    /// Keeps a record in place of the one before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let fresh = self.0.join("record.new");
        let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        fs::rename(fresh, self.0.join("record.json"))
    }

    /// Makes the folder.
    pub fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Removes all of it.
    pub fn remove(&self) -> io::Result<()> {
        for name in ["record.json", "record.new", "agent.log", "agent"] {
            match fs::remove_file(self.0.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        match fs::remove_dir(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Becomes the one process that keeps the attachment, as long as the answer lives; `Err` inside is who is already.
    pub async fn claim(&self) -> io::Result<Result<File, Option<u32>>> {
        self.make()?;
        let mut file = self.open_agent()?;
        let mut tries = CLAIM_TRIES;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            // Whoever only looks holds it for a moment, too.
            tries -= 1;
            if tries == 0 {
                return Ok(Err(number(&mut file)));
            }
            sleep(STEP).await;
        }
        // The device of a process that ended is none until it is found again; whoever waits for ours must not take it for
        // that, so this comes before our number.
        // One that is being detached is not made again, and what it was stays known.
        if let Some(record) = self.read()?.filter(|record| record.device.is_some() && !record.ending) {
            self.write(&Record { device: None, ..record })?;
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Ok(file))
    }

    fn open_agent(&self) -> io::Result<File> {
        File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(self.0.join("agent"))
    }

    /// The process that keeps the attachment, if one does.
    pub fn keeper(&self) -> Option<u32> {
        let mut file = File::options().read(true).write(true).open(self.0.join("agent")).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => number(&mut file),
        }
    }

    /// Ends the process that keeps the attachment, unless it is this one: in good order first, then outright.
    pub async fn end_keeper(&self, patience: Duration) -> io::Result<()> {
        for signal in [Signal::TERM, Signal::KILL] {
            let Some(id) = self.keeper().filter(|id| *id != std::process::id()) else { return Ok(()) };
            let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return Ok(()) };
            // The descriptor stays with the process it was opened for; that it still keeps the lock tells it is the one.
            if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
                && self.keeper() == Some(id)
            {
                let _ = pidfd_send_signal(&process, signal);
            }
            let deadline = Instant::now() + patience;
            while self.keeper() == Some(id) && Instant::now() < deadline {
                sleep(STEP).await;
            }
        }
        match self.keeper().filter(|id| *id != std::process::id()) {
            None => Ok(()),
            Some(id) => Err(io::Error::other(format!("process {id} does not end"))),
        }
    }
}

fn number(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
