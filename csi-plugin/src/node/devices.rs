//! Volumes as devices of this host, each kept by a process of its own, which goes on when the plugin does not.
//!
//! What is there is what crate `attach` finds; this starts what is missing, and ends what is there.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use attach::{AttachError, Attachment, Ending, Host, Method};
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tonic::{Code, Status};

/// How long the process that keeps a device tries to make it.
const RAISE_SECONDS: &str = "60";
/// How often processes that keep devices of the kernel are looked after.
const REVIVE_EVERY: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);
/// Of what such a process said, so much is told.
const SAID_BYTES_MAX: usize = 1000;
/// How it ends when there is no such volume, and when the cluster does not give it: as `plinth` does.
const EXIT_NOT_FOUND: i32 = 3;
const EXIT_CONFLICT: i32 = 4;

/// How volumes become devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attacher {
    /// The first that the host can do.
    Auto,
    /// The kernel's NBD client.
    Nbd,
    /// The kernel's iSCSI initiator.
    Iscsi,
    /// A file of ours and a loop device.
    Fuse,
}

/// A word that names none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no attacher; it may be auto, nbd, iscsi or fuse")]
pub struct NotAnAttacher(String);

/// How devices are made here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DevicesConfig {
    /// The program that keeps a device: `plinth`.
    pub program: PathBuf,
    /// Where what is attached is noted; a restart of the host must empty it.
    pub folder: PathBuf,
    /// How, unless a volume's StorageClass says so.
    pub attacher: Attacher,
}

/// The devices.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    config: DevicesConfig,
    host: Host,
    client: String,
    control: String,
}

/// What is wanted of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceWish<'a> {
    pub name: &'a str,
    pub read_only: bool,
    pub attacher: Option<Attacher>,
}

/// How a volume's device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// There is none, or it will have to be made.
    Nothing,
    /// Somebody makes it.
    Coming,
    /// It is there and kept.
    Kept(Attachment),
    /// The kernel has it, and the process that keeps it is gone.
    Orphan(Attachment),
    /// It was there, and went with the process that kept it; or is half taken away.
    Dead(Attachment),
}

impl fmt::Display for Attacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Nbd => "nbd",
            Self::Iscsi => "iscsi",
            Self::Fuse => "fuse",
        })
    }
}

impl FromStr for Attacher {
    type Err = NotAnAttacher;

    fn from_str(word: &str) -> Result<Self, NotAnAttacher> {
        let all = [Self::Auto, Self::Nbd, Self::Iscsi, Self::Fuse];
        all.into_iter().find(|one| one.to_string() == word).ok_or_else(|| NotAnAttacher(word.to_owned()))
    }
}

impl From<Attachment> for Found {
    fn from(found: Attachment) -> Self {
        let record = &found.record;
        match (record.ending, found.keeper, &record.device, record.method) {
            (true, ..) => Self::Dead(found),
            (false, Some(_), Some(_), _) => Self::Kept(found),
            (false, Some(_), None, _) => Self::Coming,
            (false, None, Some(_), Method::Nbd) => Self::Orphan(found),
            (false, None, Some(_), Method::Fuse) => Self::Dead(found),
            (false, None, None, _) => Self::Nothing,
        }
    }
}

impl Devices {
    pub fn new(config: DevicesConfig, client: &str, control: &[String]) -> Self {
        let host = Host::new(config.folder.clone());
        Self { config, host, client: client.to_owned(), control: control.join(",") }
    }

    /// All attachments of this host; none when they cannot be told now.
    pub fn all(&self) -> Vec<Attachment> {
        self.host.list().unwrap_or_default()
    }

    /// The attachment of the volume of this name, whole or not.
    pub fn attachment(&self, name: &str) -> Result<Option<Attachment>, Status> {
        self.host.find(name).map_err(|error| broken(&error))
    }

    /// How a volume's device is.
    pub fn find(&self, name: &str) -> Result<Found, Status> {
        Ok(self.attachment(name)?.map_or(Found::Nothing, Found::from))
    }

    /// Waits until the device is there, and has it made if nobody does.
    pub async fn raise(&self, wish: DeviceWish<'_>) -> Result<Attachment, Status> {
        let mut started: Option<Child> = None;
        loop {
            if let Found::Kept(attachment) = self.find(wish.name)? {
                return Ok(attachment);
            }
            match started.as_mut().map(Child::try_wait).transpose() {
                Err(error) => return Err(broken(&error)),
                // It found another one, of a call that was given up: that one is waited for.
                Ok(Some(Some(_))) if self.find(wish.name)? == Found::Coming => started = None,
                Ok(Some(Some(status))) => return Err(self.failed(wish.name, status).await),
                Ok(Some(None)) => {}
                // Somebody else's, perhaps of a plugin that was here before, may be at it.
                Ok(None) if self.find(wish.name)? == Found::Coming => {}
                Ok(None) => started = Some(self.start(wish)?),
            }
            sleep(STEP).await;
        }
    }

    /// Starts the process that keeps a device. It is on its own from now on; when the plugin is still there at its end, the
    /// runtime takes notice.
    fn start(&self, wish: DeviceWish<'_>) -> Result<Child, Status> {
        let attacher = wish.attacher.unwrap_or(self.config.attacher);
        if attacher == Attacher::Iscsi {
            let sentence = "volumes cannot be attached by iSCSI yet; use the attacher nbd, fuse or auto";
            return Err(Status::failed_precondition(sentence));
        }
        let log = self.log(wish.name).map_err(|error| broken(&error))?;
        let mut command = Command::new(&self.config.program);
        command.args(["attach", wish.name, "--foreground", "--renew"]);
        command.args(["--method", &attacher.to_string(), "--client", &self.client]);
        command.args(["--control", &self.control, "--timeout", RAISE_SECONDS]);
        command.arg("--folder").arg(&self.config.folder);
        command.args(wish.read_only.then_some("--read-only"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(false);
        command.spawn().map_err(|error| broken(&error))
    }

    fn log(&self, name: &str) -> io::Result<File> {
        let path = self.host.log(name);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        File::options().create(true).write(true).truncate(true).mode(0o600).open(path)
    }

    /// What the process said last, as an answer; nothing of it stays.
    async fn failed(&self, name: &str, status: ExitStatus) -> Status {
        let log = self.host.log(name);
        let said = fs::read_to_string(&log).unwrap_or_default();
        let last = said.lines().rev().find_map(|line| line.strip_prefix("plinth: "));
        let last: String = last.unwrap_or("it did not say why").chars().take(SAID_BYTES_MAX).collect();
        // Only with the right to keep it: another process may be about to make the device.
        if let Ok(claim) = self.host.claim(name).await
            && claim.record().is_none()
        {
            let _cleared = claim.abandon().await;
        }
        let code = match status.code() {
            Some(EXIT_NOT_FOUND) => Code::NotFound,
            Some(EXIT_CONFLICT) => Code::FailedPrecondition,
            Some(_) | None => Code::Unavailable,
        };
        Status::new(code, format!("the volume has not become a device of this node: {last}"))
    }

    /// Makes the device as large as the volume; answers its size.
    pub async fn grow(&self, name: &str) -> Result<u64, Status> {
        self.host.grow(name).await.map_err(|error| of_attach(&error))
    }

    /// Ends a device and forgets it. The cluster is not told: who may use the volume is the controller's to say.
    pub async fn lower(&self, name: &str, ending: Ending) -> Result<(), Status> {
        self.host.lower(name, ending).await.map_err(|error| of_attach(&error))?;
        self.host.forget(name).map_err(|error| broken(&error))
    }

    /// Has all fail that waits in a device, so that it can be unmounted; its number stays taken until it is lowered.
    pub async fn fail(&self, name: &str) -> Result<(), Status> {
        self.host.fail(name).await.map_err(|error| of_attach(&error))
    }

    /// Replaces processes that died while the kernel has their device, without end: as long as nobody does, a failover
    /// waits.
    pub async fn revive(self) {
        loop {
            for attachment in self.all() {
                if let Found::Orphan(orphan) = Found::from(attachment) {
                    self.revive_one(&orphan);
                }
            }
            sleep(REVIVE_EVERY).await;
        }
    }

    fn revive_one(&self, orphan: &Attachment) {
        let name = &orphan.record.name;
        let wish = DeviceWish { name, read_only: orphan.record.read_only, attacher: Some(Attacher::Nbd) };
        match self.start(wish) {
            Ok(_) => tracing::warn!("nobody kept the device of volume {name}; a process was started that does"),
            Err(status) => tracing::error!("nobody keeps the device of volume {name}: {}", status.message()),
        }
    }
}

/// Whether there is such a device.
pub(super) fn is_there(device: &Path) -> bool {
    attach::size_bytes(device).is_ok_and(|size_bytes| size_bytes > 0)
}

fn broken(error: &io::Error) -> Status {
    Status::internal(format!("what is attached to this node cannot be told or changed: {error}"))
}

fn of_attach(error: &AttachError) -> Status {
    let code = match error {
        AttachError::Absent { .. } => Code::NotFound,
        AttachError::InUse { .. } => Code::FailedPrecondition,
        AttachError::Kept { .. }
        | AttachError::Ending { .. }
        | AttachError::NoMethod { .. }
        | AttachError::Unflushed(_)
        | AttachError::Stack(_)
        | AttachError::WrongSize { .. }
        | AttachError::Io(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use attach::{Attachment, Method, Record};

    use super::{Attacher, Found};

    #[test]
    fn attachers_are_named() {
        for word in ["auto", "nbd", "iscsi", "fuse"] {
            assert_eq!(word.parse::<Attacher>().unwrap().to_string(), word);
        }
        assert!("".parse::<Attacher>().unwrap_err().to_string().contains("iscsi"));
    }

    #[test]
    fn what_is_there_is_judged_by_its_record_and_its_keeper() {
        let found = |method, device: bool, keeper: bool, ending: bool| {
            let mut record = Record::new("db", "n1", "00".repeat(16), method);
            record.device = device.then(|| PathBuf::from("/dev/x"));
            record.ending = ending;
            Found::from(Attachment { record, keeper: keeper.then_some(7) })
        };
        assert!(matches!(found(Method::Fuse, true, true, false), Found::Kept(_)));
        assert!(matches!(found(Method::Fuse, false, true, false), Found::Coming));
        assert!(matches!(found(Method::Nbd, true, false, false), Found::Orphan(_)));
        assert!(matches!(found(Method::Fuse, true, false, false), Found::Dead(_)));
        assert!(matches!(found(Method::Fuse, true, true, true), Found::Dead(_)));
        assert!(matches!(found(Method::Nbd, false, false, false), Found::Nothing));
    }
}
