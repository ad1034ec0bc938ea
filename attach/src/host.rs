//! Attachments of this host: made, found again, kept and undone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nbd::Purpose;
use tokio::time::{Instant, sleep};

use crate::blockdev::{self, Use};
use crate::error::AttachError;
use crate::fuse::{self, Endpoint, Stack};
use crate::growth::Growth;
use crate::keeper::{Keeper, Serving};
use crate::kernel::{self, Device, Kept, Number};
use crate::line::{Dialer, Directory, Identity, Line};
use crate::record::{Method, Place, Record};

/// How long what waits to be written may take at an orderly detach.
const FLUSH_MAX: Duration = Duration::from_secs(60);
/// How long a process that keeps a device may take to end.
const END_MAX: Duration = Duration::from_secs(3);
/// How long the system may take to show a device that the kernel has made.
const SHOW_MAX: Duration = Duration::from_secs(5);

/// The attachments of one host, in a folder that a restart of the host empties, as it ends the devices.
#[derive(Clone, Debug)]
pub struct Host {
    folder: PathBuf,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// What is known of it.
    pub record: Record,
    /// The process that keeps its device.
    pub keeper: Option<u32>,
}

/// How a device is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// When nobody uses it and all that waits is written.
    Orderly,
    /// In any case and at once: what waits is lost, what uses it sees errors.
    Forced,
}

impl Host {
    /// With its folder, such as /run/plinth/attach.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn place(&self, name: &str) -> Place {
        Place::new(&self.folder, name)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The folder or a record cannot be read.
    pub fn list(&self) -> io::Result<Vec<Attachment>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            if let Some(name) = entry?.file_name().to_str() {
                found.extend(self.find(name)?);
            }
        }
        found.sort_by(|one, other| one.record.name.cmp(&other.record.name));
        Ok(found)
    }

    /// One of them.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn find(&self, name: &str) -> io::Result<Option<Attachment>> {
        let place = self.place(name);
        let Some(mut record) = place.read()? else { return Ok(None) };
        let keeper = place.keeper();
        // A process that died before it noted the device, or before it took it over, has left it to the kernel.
        if record.method == Method::Nbd && record.device.is_none() && keeper.is_none() && !record.ending {
            record.device = current_device(&place, &record)?;
        }
        Ok(Some(Attachment { record, keeper }))
    }

    /// Where messages of a process in the background go.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.place(name).path().join("agent.log")
    }

    /// Becomes the one that keeps a volume's device here, whether it is attached already or not.
    ///
    /// # Errors
    /// [`AttachError::Kept`] when another process does.
    pub async fn claim(&self, name: &str) -> Result<Claim, AttachError> {
        let place = self.place(name);
        match place.claim().await? {
            Ok(lock) => Ok(Claim { record: place.read()?, place, lock }),
            Err(keeper) => Err(AttachError::Kept { name: name.to_owned(), keeper }),
        }
    }

    /// Makes the device as large as its volume has become; answers the size.
    ///
    /// # Errors
    /// It is not attached, or the system refuses.
    pub async fn grow(&self, name: &str) -> Result<u64, AttachError> {
        let absent = || AttachError::Absent { name: name.to_owned() };
        let mut record = self.place(name).read()?.ok_or_else(absent)?;
        let device = record.device.clone().ok_or_else(absent)?;
        let (directory, _keeper) = Directory::new(record.addresses.clone());
        let size_bytes = dialer(&record, directory).find(Purpose::Look).await.export.size_bytes;
        Growth::new(&self.place(name), &record, &device).show(size_bytes).await?;
        let found = size_bytes.max(record.size_bytes);
        record.size_bytes = found;
        self.place(name).write(&record)?;
        Ok(found)
    }

    /// Ends the device, and the process that keeps it. The record stays until [`Host::forget`]: the cluster has to be
    /// told, too.
    ///
    /// # Errors
    /// It is in use, or does not go.
    pub async fn lower(&self, name: &str, ending: Ending) -> Result<(), AttachError> {
        let place = self.place(name);
        let Some(record) = place.read()? else { return Ok(()) };
        if ending == Ending::Orderly {
            make_idle(&place, &record).await?;
        }
        note_ending(&place, &record)?;
        match ending {
            Ending::Orderly => take_down(&place, &record).await,
            Ending::Forced => tear_down(&place, &record).await,
        }
    }

    /// Has all that waits in a device fail, and all that comes. Until it is lowered its number is no other volume's: who
    /// knows the device by its number alone, as a container does, must not meet one.
    ///
    /// # Errors
    /// The process that keeps it, or the system, does not do it.
    pub async fn fail(&self, name: &str) -> Result<(), AttachError> {
        let place = self.place(name);
        let Some(record) = place.read()? else { return Ok(()) };
        note_ending(&place, &record)?;
        place.end_keeper(END_MAX).await?;
        match record.method {
            // What is noted keeps the number, see [`numbers_of_others`].
            Method::Nbd => kernel::disconnect(&record.backend()).await?,
            // The loop device stays.
            Method::Fuse => Stack::new(place.path()).abort(),
        }
        Ok(())
    }

    /// Ends the device in order and keeps the attachment: whoever claims it makes the device again. For a method whose
    /// device ends with its process.
    ///
    /// # Errors
    /// As [`Host::lower`].
    pub async fn rest(&self, name: &str) -> Result<(), AttachError> {
        let place = self.place(name);
        let Some(record) = place.read()? else { return Ok(()) };
        if record.ending {
            return Ok(());
        }
        make_idle(&place, &record).await?;
        take_down(&place, &record).await?;
        Ok(place.write(&Record { device: None, ..record })?)
    }

    /// Forgets an attachment that has ended here and in the cluster.
    ///
    /// # Errors
    /// Its folder cannot be removed.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        self.place(name).remove()
    }
}

/// The right to keep one volume's device. It ends with this value, and with the process.
#[derive(Debug)]
pub struct Claim {
    place: Place,
    record: Option<Record>,
    lock: File,
}

impl Claim {
    /// What an earlier process left, if anything.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Keeps what is about to be done, or was done, so that it can be undone whatever happens.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&mut self, record: Record) -> io::Result<()> {
        self.place.write(&record)?;
        self.record = Some(record);
        Ok(())
    }

    /// Makes the device, or takes over the one that is there. Waits until somebody serves the volume.
    ///
    /// # Errors
    /// What was begun is undone.
    pub async fn raise(mut self, directory: Directory) -> Result<Keeper, AttachError> {
        let mut record = self.record.take().ok_or_else(|| AttachError::Absent { name: String::new() })?;
        let mut dialer = dialer(&record, directory);
        if record.ending {
            return Err(AttachError::Ending { name: record.name });
        }
        // Leftovers of a process that died: without its endpoint they can only fail.
        if record.method == Method::Fuse {
            Stack::new(self.place.path()).tear_down().await?;
        }
        let line = dialer.find(Purpose::Open).await;
        let size_bytes = line.export.size_bytes;
        dialer.grown(size_bytes);
        let raised = match record.method {
            Method::Nbd => raise_nbd(&self.place, &record, dialer, line, self.lock).await,
            Method::Fuse => raise_fuse(&self.place, &record, dialer, line, self.lock).await,
        };
        let keeper = match raised {
            Ok(keeper) => keeper,
            Err(error) => {
                undo(&self.place, &record).await;
                return Err(error);
            }
        };
        record.device = Some(keeper.device().to_owned());
        record.size_bytes = size_bytes;
        if let Err(error) = check(&keeper, size_bytes).await.and_then(|()| Ok(self.place.write(&record)?)) {
            drop(keeper);
            undo(&self.place, &record).await;
            return Err(error);
        }
        Ok(keeper)
    }

    /// Removes what there is, on this host.
    ///
    /// # Errors
    /// Something does not go.
    pub async fn abandon(self) -> Result<(), AttachError> {
        if let Some(record) = &self.record {
            undo(&self.place, record).await;
        }
        Ok(self.place.remove()?)
    }
}

fn dialer(record: &Record, directory: Directory) -> Dialer {
    let identity = Identity { volume: record.volume, size_bytes: record.size_bytes };
    Dialer::new(record.export(), identity, directory)
}

/// The device as the kernel has it, whatever was noted.
fn current_device(place: &Place, record: &Record) -> io::Result<Option<PathBuf>> {
    Ok(match record.method {
        Method::Nbd => Device::of_backend(&record.backend())?.map(Device::path),
        Method::Fuse => Stack::new(place.path()).devices().pop(),
    })
}

/// From here on nobody makes the device again. What it was stays known, also when no process got to note it.
fn note_ending(place: &Place, record: &Record) -> io::Result<()> {
    let device = match &record.device {
        Some(device) => Some(device.clone()),
        None => current_device(place, record)?,
    };
    place.write(&Record { ending: true, device, ..record.clone() })
}

/// Nobody uses the device, and nothing waits to be written.
async fn make_idle(place: &Place, record: &Record) -> Result<(), AttachError> {
    let Some(device) = current_device(place, record)? else { return Ok(()) };
    let usage = blockdev::usage(&device)?;
    if usage != Use::Free {
        return Err(AttachError::InUse { device, usage });
    }
    if !record.read_only {
        blockdev::flush(&device, FLUSH_MAX).await?;
    }
    Ok(())
}

/// Ends a device in which nothing waits. An endpoint must answer until the last request; the kernel's client must not be
/// given another connection.
async fn take_down(place: &Place, record: &Record) -> Result<(), AttachError> {
    match record.method {
        Method::Fuse => {
            Stack::new(place.path()).lower().await?;
            place.end_keeper(END_MAX).await?;
        }
        Method::Nbd => {
            place.end_keeper(END_MAX).await?;
            kernel::disconnect(&record.backend()).await?;
        }
    }
    Ok(())
}

/// Ends a device whatever waits in it: that fails.
async fn tear_down(place: &Place, record: &Record) -> Result<(), AttachError> {
    place.end_keeper(END_MAX).await?;
    match record.method {
        Method::Fuse => Stack::new(place.path()).tear_down().await?,
        Method::Nbd => kernel::disconnect(&record.backend()).await?,
    }
    Ok(())
}

async fn raise_nbd(
    place: &Place,
    record: &Record,
    dialer: Dialer,
    line: Line,
    lock: File,
) -> Result<Keeper, AttachError> {
    let backend = record.backend();
    let looking = dialer.clone();
    let kept = match Device::of_backend(&backend)? {
        Some(device) => Kept::take_over(device, dialer, line, backend).await?,
        None => {
            let number = match record.index {
                Some(index) => Number::Exactly(index),
                None => Number::AnyBut(numbers_of_others(place)?),
            };
            Kept::make(dialer, line, backend, number).await?
        }
    };
    let growth = Growth::new(place, record, &kept.device().path());
    Ok(Keeper::nbd(kept, growth.watching(looking), lock))
}

/// Numbers of nbd devices that other attachments of this host have, or had and are not forgotten.
fn numbers_of_others(place: &Place) -> io::Result<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for other in place.others()? {
        let device = other.read()?.filter(|record| record.method == Method::Nbd).and_then(|record| record.device);
        numbers.extend(device.as_deref().and_then(nbd_index));
    }
    Ok(numbers)
}

async fn raise_fuse(
    place: &Place,
    record: &Record,
    dialer: Dialer,
    line: Line,
    lock: File,
) -> Result<Keeper, AttachError> {
    let stack = Stack::new(place.path());
    let looking = dialer.clone();
    let serving = Serving::begin(Endpoint::new(stack.open()?, dialer, line));
    let device = stack.raise(record.read_only).await?;
    let growth = Growth::new(place, record, &device);
    Ok(Keeper::fuse(device, serving, growth.watching(looking), lock))
}

/// The device is what it is to be, before anybody uses it.
async fn check(keeper: &Keeper, size_bytes: u64) -> Result<(), AttachError> {
    let (device, deadline) = (keeper.device(), Instant::now() + SHOW_MAX);
    loop {
        let found = blockdev::size_bytes(device).unwrap_or_default();
        if found >= size_bytes && device.exists() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(AttachError::WrongSize { device: device.to_owned(), found, expected: size_bytes });
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn undo(place: &Place, record: &Record) {
    let undone = match record.method {
        Method::Fuse => Stack::new(place.path()).tear_down().await.map_err(AttachError::from),
        Method::Nbd => kernel::disconnect(&record.backend()).await.map_err(AttachError::from),
    };
    if let Err(error) = undone {
        tracing::error!("{}: not all of it is undone: {error}", record.name);
    }
}

/// The best method of this host.
///
/// # Errors
/// It has none, and this is what it lacks.
pub async fn best_method() -> Result<Method, AttachError> {
    if kernel::is_there().await {
        return Ok(Method::Nbd);
    }
    match fuse::lacking() {
        None => Ok(Method::Fuse),
        Some(fuse) => Err(AttachError::NoMethod { lacking: format!("the kernel's nbd module, and {fuse}") }),
    }
}

/// Whether this host can do it by this method.
///
/// # Errors
/// What it lacks.
pub async fn require(method: Method) -> Result<(), AttachError> {
    let lacking = match method {
        Method::Nbd if kernel::is_there().await => None,
        Method::Nbd => Some("the kernel's nbd module; load it, or take the method fuse".to_owned()),
        Method::Fuse => fuse::lacking().map(str::to_owned),
    };
    lacking.map_or(Ok(()), |lacking| Err(AttachError::NoMethod { lacking }))
}

/// The number of /dev/nbdN.
#[must_use]
pub fn nbd_index(device: &Path) -> Option<u32> {
    Device::named(device).map(|device| device.0)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Host, Method, Record, numbers_of_others};

    #[test]
    fn a_number_is_reserved_until_its_attachment_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(folder.path().to_owned());
        for (name, method, device, ending) in [
            ("ended", Method::Nbd, Some("/dev/nbd1"), true),
            ("living", Method::Nbd, Some("/dev/nbd7"), false),
            ("coming", Method::Nbd, None, false),
            ("other", Method::Fuse, Some("/dev/loop3"), true),
            ("own", Method::Nbd, Some("/dev/nbd9"), false),
        ] {
            let device = device.map(PathBuf::from);
            host.place(name).make().unwrap();
            let record = Record { device, ending, ..Record::new(name, "host", "00".repeat(16), method) };
            host.place(name).write(&record).unwrap();
        }
        let reserved = || numbers_of_others(&host.place("own")).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(reserved(), [1, 7]);
        host.forget("ended").unwrap();
        assert_eq!(reserved(), [7]);
    }
}
