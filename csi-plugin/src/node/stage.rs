//! A volume comes to this host, and goes.
//!
//! ```text
//!   published to us? ── what a fenced or dead predecessor left goes ── (`prepare`) ── device ── what is on it? ── format ── check ── mount
//!   nobody has it mounted ── unmount ── device ends ── forgotten
//! ```
//! Whatever fails on the way in, nothing stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use attach::{Attachment, Ending};
use proto::v1;
use tonic::Status;

use super::answers::of_io;
use super::devices::{DeviceWish, Found};
use super::places::{Places, device_file, known, listed, staged_at};
use super::wish::{Access, Context, Shape};
use super::{Node, prepare};
use crate::system::{self, Content, Filesystem, MountTable, Wish};

/// What NodeStageVolume asks for.
#[derive(Debug)]
pub(super) struct Staging {
    pub volume_id: String,
    pub path: PathBuf,
    pub access: Access,
    pub context: Context,
}

impl Node {
    /// Shows the volume at the staging path.
    pub async fn stage(&self, wish: &Staging) -> Result<(), Status> {
        let volume = self.volume(&wish.volume_id).await?;
        let ours = self.published(&volume)?;
        let device_read_only = ours.mode() == v1::AccessMode::ReadOnly;
        let read_only = wish.access.reader || device_read_only;
        let path = made(&wish.path)?;
        self.clear_stale(&volume.name, ours.generation, &path).await?;
        let is_staged = self.is_staged(&volume.name, &path, wish, read_only)?;
        let is_to_be_prepared = prepare::is_due(&volume, &ours, &wish.access);
        if is_staged && !is_to_be_prepared {
            return Ok(());
        }
        if is_to_be_prepared {
            self.prepare(&volume, &path, wish).await?;
        }
        let (attacher, device_read_only) = (wish.context.attacher, device_read_only || is_to_be_prepared);
        let attachment =
            self.devices.raise(DeviceWish { name: &volume.name, read_only: device_read_only, attacher }).await?;
        let shown = show(&attachment, &volume, &path, wish, read_only).await;
        if let Err(status) = shown {
            // Best effort: the next call finds what stays.
            if let Err(undone) = self.undo(&attachment, &path).await {
                tracing::error!("not all is undone of volume {}: {}", volume.name, undone.message());
            }
            return Err(status);
        }
        Ok(())
    }

    /// Takes away what a device left that serves nobody any more: its attachment has ended in the cluster, or the process
    /// that kept it died and it with it. What pods still have of it is theirs to give up first.
    async fn clear_stale(&self, name: &str, generation: u64, path: &Path) -> Result<(), Status> {
        let (attachment, why) = match self.devices.find(name)? {
            Found::Nothing | Found::Coming => return Ok(()),
            Found::Dead(attachment) => (attachment, "the process that kept it has died"),
            Found::Kept(attachment) | Found::Orphan(attachment) if attachment.record.generation != generation => {
                (attachment, "the volume was given to somebody else in the meantime")
            }
            Found::Kept(_) | Found::Orphan(_) => return Ok(()),
        };
        let Some(device) = attachment.record.device else { return self.devices.lower(name, Ending::Forced).await };
        let file = device_file(path);
        let pods = Places::of(&device)?.elsewhere(&[path, &file]);
        if !pods.is_empty() {
            let sentence = format!(
                "{} is of no use any more, {why}; delete the pods that have it at {}",
                device.display(),
                listed(&pods)
            );
            return Err(Status::failed_precondition(sentence));
        }
        tracing::warn!("{} is cleared away: {why}", device.display());
        self.devices.fail(name).await?;
        clear(path).await?;
        self.devices.lower(name, Ending::Forced).await
    }

    /// Whether it is there already, in the same way.
    fn is_staged(&self, name: &str, path: &Path, wish: &Staging, read_only: bool) -> Result<bool, Status> {
        let device = match self.devices.find(name)? {
            Found::Kept(attachment) => attachment.record.device,
            Found::Nothing | Found::Coming | Found::Orphan(_) | Found::Dead(_) => None,
        };
        let places = Places::of(device.as_deref().unwrap_or(Path::new("/dev/null")))?;
        let file = device_file(path);
        let otherwise = |what: &str| Err(Status::already_exists(format!("{} {what}", path.display())));
        let place = staged_at(path, &wish.access.shape);
        let other = if place == file { path } else { &file };
        if places.at(other).is_some() {
            return otherwise("has the volume already, in the other of the two ways, as a filesystem or as a device");
        }
        let Some(found) = places.at(&place) else { return Ok(false) };
        if device.is_none() || places.ours_at(&place).is_none() {
            return otherwise("has something mounted that is not this volume");
        }
        match &wish.access.shape {
            Shape::Block => Ok(true),
            Shape::Mount { filesystem: Some(filesystem), .. } if filesystem.name() != found.filesystem => {
                otherwise(&format!("has the volume already, with {}", found.filesystem))
            }
            Shape::Mount { .. } if found.read_only != read_only => {
                otherwise("has the volume already, and not for reading only and writing at once")
            }
            Shape::Mount { .. } => Ok(true),
        }
    }

    /// Takes away what was begun.
    pub(super) async fn undo(&self, attachment: &Attachment, path: &Path) -> Result<(), Status> {
        clear(path).await?;
        self.devices.lower(&attachment.record.name, Ending::Orderly).await
    }

    /// Takes the volume away from the staging path, and its device from this host.
    pub async fn unstage(&self, volume_id: &str, path: &Path) -> Result<(), Status> {
        let path = known(path);
        let Some(attachment) = self.attachment(volume_id)? else {
            return match path {
                Some(path) => clear(&path).await,
                None => Ok(()),
            };
        };
        let name = attachment.record.name.clone();
        let ending = self.ending(&attachment).await;
        if let Some(device) = &attachment.record.device {
            let files: Vec<PathBuf> = path.iter().flat_map(|path| [path.clone(), device_file(path)]).collect();
            let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
            let pods = Places::of(device)?.elsewhere(&files);
            if !pods.is_empty() {
                let sentence = format!("pods have the volume at {}; unpublish it there first", listed(&pods));
                return Err(Status::failed_precondition(sentence));
            }
        }
        if ending == Ending::Forced {
            // What waits in the device can only fail; an unmount must not wait for it.
            self.devices.fail(&name).await?;
        }
        if let Some(path) = &path {
            clear(path).await?;
        }
        self.devices.lower(&name, ending).await
    }

    /// A device whose attachment has ended in the cluster cannot write what waits any more. Without an answer it is taken
    /// to be alive: then nothing that could still be written is lost.
    async fn ending(&self, attachment: &Attachment) -> Ending {
        let record = &attachment.record;
        if matches!(Found::from(attachment.clone()), Found::Dead(_)) {
            return Ending::Forced;
        }
        let holds = |volume: &v1::Volume| {
            volume.attachments.iter().any(|one| one.client == record.client && one.generation == record.generation)
        };
        match self.cluster.ask(super::LOOK_MAX).volume(&record.name).await {
            Ok(volume) if record.generation == 0 || holds(&volume) => Ending::Orderly,
            Ok(_) => Ending::Forced,
            Err(error) if error.is_not_found() => Ending::Forced,
            Err(_) => Ending::Orderly,
        }
    }
}

/// The staging path, which is made if it is not there, as the kernel has it.
fn made(path: &Path) -> Result<PathBuf, Status> {
    let Some(path) = known(path) else {
        return Err(Status::failed_precondition(format!("there is no folder that {} could lie in", path.display())));
    };
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(of_io("making the staging path", &error)),
        Ok(()) | Err(_) => Ok(path),
    }
}

/// Undoes what a stage has done at the path.
pub(super) async fn clear(path: &Path) -> Result<(), Status> {
    let file = device_file(path);
    let table = MountTable::read().map_err(|error| of_io("what is mounted", &error))?;
    if table.at(&file).is_some() {
        system::unmount(&file).await?;
    }
    system::unmount(path).await?;
    super::remove_file(&file)
}

async fn show(
    attachment: &Attachment,
    volume: &v1::Volume,
    path: &Path,
    wish: &Staging,
    read_only: bool,
) -> Result<(), Status> {
    let device = identified(attachment, volume)?;
    match &wish.access.shape {
        Shape::Block => {
            let file = device_file(path);
            super::make_file(&file)?;
            Ok(system::bind(device, &file, false).await?)
        }
        Shape::Mount { filesystem, flags } => {
            let found = prepared(device, *filesystem, &wish.context.mkfs_options, read_only).await?;
            system::mount(device, path, Wish { filesystem: found.0, read_only, flags }).await?;
            if found.1 == Origin::Old && !read_only {
                // One that was restored into a larger volume becomes as large.
                system::grow(device, path, found.0).await?;
            }
            Ok(())
        }
    }
}

/// The device is the volume that is meant: of its number, and not smaller.
pub(super) fn identified<'a>(attachment: &'a Attachment, volume: &v1::Volume) -> Result<&'a Path, Status> {
    let record = &attachment.record;
    let other =
        |what: String| Status::internal(format!("the device is not volume {}: {what}; nothing was done", volume.name));
    let device = record.device.as_deref().ok_or_else(|| other("it is gone".to_owned()))?;
    if record.volume != volume.id {
        return Err(other(format!("it is volume number {} and not {}", record.volume, volume.id)));
    }
    let found = attach::size_bytes(device).map_err(|error| of_io("the device's size", &error))?;
    // The volume may have grown since its size was looked up, and since the device was made.
    if found < record.size_bytes || record.size_bytes == 0 {
        return Err(other(format!("it has {found} bytes and not {}", record.size_bytes)));
    }
    Ok(device)
}

/// Whether a filesystem was made just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    New,
    Old,
}

/// The filesystem on the device, ready to be mounted.
async fn prepared(
    device: &Path,
    wanted: Option<Filesystem>,
    mkfs_options: &[String],
    read_only: bool,
) -> Result<(Filesystem, Origin), Status> {
    let found = system::look(device).await?;
    match &found {
        Content::Blank | Content::Unfinished if read_only => {
            Err(Status::failed_precondition("the volume is empty, and may only be read: use it for writing once"))
        }
        Content::Blank | Content::Unfinished => {
            let filesystem = wanted.unwrap_or(Filesystem::Ext4);
            system::format(device, filesystem, &found, mkfs_options).await?;
            Ok((filesystem, Origin::New))
        }
        Content::Whole(filesystem, _) if wanted.is_some_and(|wanted| wanted != *filesystem) => {
            let wanted = wanted.map(Filesystem::name).unwrap_or_default();
            let sentence = format!("the volume has a filesystem, {filesystem}, and {wanted} was asked for");
            Err(Status::failed_precondition(sentence))
        }
        Content::Whole(filesystem, uuid) => {
            system::refuse_twin(device, *filesystem, uuid)?;
            if !read_only {
                system::repair(device, *filesystem).await?;
            }
            Ok((*filesystem, Origin::Old))
        }
    }
}
