//! A pod gets a volume that is staged, and gives it back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tonic::Status;

use super::answers::of_io;
use super::devices::Found;
use super::places::{Places, known, listed, staged_at};
use super::wish::{Access, Shape};
use super::{Node, make_file};
use crate::system;

/// What NodePublishVolume asks for.
#[derive(Debug)]
pub(super) struct Publishing {
    pub volume_id: String,
    pub staging: PathBuf,
    pub target: PathBuf,
    pub access: Access,
    pub read_only: bool,
}

impl Node {
    /// Shows at the target what is staged.
    pub async fn publish(&self, wish: &Publishing) -> Result<(), Status> {
        let not_staged = || Status::failed_precondition("the volume is not staged at this path of this node");
        let Some(attachment) = self.attachment(&wish.volume_id)? else {
            // Whether there is such a volume at all is the cluster's to say.
            self.volume(&wish.volume_id).await?;
            return Err(not_staged());
        };
        let device = match Found::from(attachment.clone()) {
            Found::Kept(_) | Found::Orphan(_) => attachment.record.device.clone().ok_or_else(not_staged)?,
            Found::Dead(_) => {
                return Err(Status::failed_precondition("the device has died with the process that kept it"));
            }
            Found::Nothing | Found::Coming => return Err(not_staged()),
        };
        let staged = staged_at(&known(&wish.staging).ok_or_else(not_staged)?, &wish.access.shape);
        let places = Places::of(&device)?;
        let shown = places.ours_at(&staged).ok_or_else(not_staged)?;
        if places.shows_device(shown) != (wish.access.shape == Shape::Block) {
            return Err(not_staged());
        }
        let read_only = wish.read_only || wish.access.reader;
        if wish.access.shape == Shape::Block && read_only && !attachment.record.read_only {
            // A device file takes writes wherever it is shown, also on a mount for reading only.
            let sentence = "a device can be for reading only when the volume is published so by the controller";
            return Err(Status::failed_precondition(sentence));
        }
        let target = known(&wish.target).ok_or_else(|| {
            Status::failed_precondition(format!("there is no folder that {} could lie in", wish.target.display()))
        })?;
        if is_published(&places, &target, &wish.access.shape, read_only)? {
            return Ok(());
        }
        let others = places.elsewhere(&[&staged]);
        if wish.access.single && !others.is_empty() {
            let sentence = format!("the volume may be in one place only, and is at {}", listed(&others));
            return Err(Status::failed_precondition(sentence));
        }
        make_target(&target, &wish.access.shape)?;
        let bound = system::bind(&staged, &target, read_only).await;
        if bound.is_err() {
            let _removed = system::unmount(&target).await;
            let _removed = remove_target(&target);
        }
        Ok(bound?)
    }

    /// Takes away what is at the target, and the target.
    pub async fn unpublish(&self, target: &Path) -> Result<(), Status> {
        // Where there is no folder there is no mount.
        let Some(target) = known(target) else { return Ok(()) };
        system::unmount(&target).await?;
        remove_target(&target)
    }
}

/// Whether it is there already, in the same way.
fn is_published(places: &Places, target: &Path, shape: &Shape, read_only: bool) -> Result<bool, Status> {
    let otherwise = |what: &str| Err(Status::already_exists(format!("{} {what}", target.display())));
    let Some(found) = places.at(target) else { return Ok(false) };
    if places.ours_at(target).is_none() {
        return otherwise("has something mounted that is not this volume");
    }
    if places.shows_device(found) != (*shape == Shape::Block) {
        return otherwise("has the volume already, in the other of the two ways, as a filesystem or as a device");
    }
    // A filesystem that is staged for reading only makes every copy so.
    if found.read_only != read_only && *shape != Shape::Block {
        return otherwise("has the volume already, and whether it may be written there is not what is asked for now");
    }
    Ok(true)
}

fn make_target(target: &Path, shape: &Shape) -> Result<(), Status> {
    match shape {
        Shape::Block => make_file(target),
        Shape::Mount { .. } => match fs::create_dir(target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(of_io("making the target path", &error)),
            Ok(()) | Err(_) => Ok(()),
        },
    }
}

/// Removes the target, which nothing is mounted at. Whatever is in it is not ours: then it stays, and that is said.
fn remove_target(target: &Path) -> Result<(), Status> {
    let removed = match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() => fs::remove_dir(target),
        Ok(_) => return super::remove_file(target),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(of_io("removing the target path", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
