//! Where a volume is shown on this host, by the kernel's table of mounts.
//!
//! A filesystem is mounted at the staging path itself, a device is shown there as a file in it. Either way pods get copies
//! of that mount.

use std::path::{Path, PathBuf};

use tonic::Status;

use super::answers::of_io;
use super::wish::Shape;
use crate::system::{Mount, MountTable, Origin, resolved};

/// The file at a staging path that shows the device of a volume that is used as one.
const DEVICE_FILE: &str = "device";

/// The table, and a volume's device.
#[derive(Debug)]
pub(super) struct Places {
    table: MountTable,
    device: PathBuf,
}

/// The path as the kernel has it; `None` when the folder it lies in is not there.
pub(super) fn known(path: &Path) -> Option<PathBuf> {
    resolved(path).ok()
}

/// The file at a staging path.
pub(super) fn device_file(staging: &Path) -> PathBuf {
    staging.join(DEVICE_FILE)
}

/// Where a volume of this shape is staged.
pub(super) fn staged_at(staging: &Path, shape: &Shape) -> PathBuf {
    match shape {
        Shape::Block => device_file(staging),
        Shape::Mount { .. } => staging.to_owned(),
    }
}

impl Places {
    /// As they are now.
    pub fn of(device: &Path) -> Result<Self, Status> {
        let table = MountTable::read().map_err(|error| of_io("what is mounted", &error))?;
        Ok(Self { table, device: device.to_owned() })
    }

    /// The device file's, which a mount of it has.
    fn device_origin(&self) -> Option<Origin> {
        self.table.origin(&self.device)
    }

    /// Whether a mount shows the volume, as filesystem or as device.
    fn is_ours(&self, mount: &Mount) -> bool {
        (mount.source == self.device && mount.filesystem != "devtmpfs")
            || self.device_origin().is_some_and(|origin| mount.origin == origin)
    }

    /// What is seen at a place, if anything is mounted there.
    pub fn at(&self, place: &Path) -> Option<&Mount> {
        self.table.at(place)
    }

    /// The volume's mount at a place.
    pub fn ours_at(&self, place: &Path) -> Option<&Mount> {
        self.at(place).filter(|mount| self.is_ours(mount))
    }

    /// Whether a mount shows the volume as a device.
    pub fn shows_device(&self, mount: &Mount) -> bool {
        self.device_origin().is_some_and(|origin| mount.origin == origin)
    }

    /// All mounts of the volume.
    pub fn all(&self) -> impl Iterator<Item = &Mount> {
        let origin = self.device_origin();
        let shows = move |mount: &&Mount| origin.as_ref().is_some_and(|origin| mount.origin == *origin);
        self.table
            .below(Path::new("/"))
            .filter(move |mount| (mount.source == self.device && mount.filesystem != "devtmpfs") || shows(mount))
    }

    /// Mounts of the volume elsewhere than at these places: what pods have.
    pub fn elsewhere(&self, places: &[&Path]) -> Vec<PathBuf> {
        let others = self.all().filter(|mount| !places.contains(&mount.point.as_path()));
        others.map(|mount| mount.point.clone()).collect()
    }
}

/// Places in a sentence.
pub(super) fn listed(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}
