//! What calls ask for, checked: nothing that is missing, unknown or contradictory gets further than this.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proto::csi;
use proto::csi::volume_capability::AccessType;
use proto::csi::volume_capability::access_mode::Mode;
use tonic::Status;

use super::devices::Attacher;
use crate::system::{Filesystem, check_flags, check_words};

/// In a volume's context: how it becomes a device, and options of mkfs. They come from parameters of its StorageClass.
pub(crate) const ATTACHER: &str = "attacher";
pub(crate) const MKFS_OPTIONS: &str = "mkfsOptions";
/// Longest path that a call may name.
const PATH_BYTES_MAX: usize = 4096;

/// How a volume is to be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Access {
    pub shape: Shape,
    /// The mode allows reading only.
    pub reader: bool,
    /// One place on the node, and no second.
    pub single: bool,
}

/// As what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// A device.
    Block,
    /// A mounted filesystem.
    Mount {
        /// Which; any that is there, or ours, when it is not said.
        filesystem: Option<Filesystem>,
        flags: Vec<String>,
    },
}

/// What is special about a volume.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Context {
    pub attacher: Option<Attacher>,
    pub mkfs_options: Vec<String>,
}

fn invalid(sentence: String) -> Status {
    Status::invalid_argument(sentence)
}

/// A field that must not be empty.
pub(super) fn needed<'a>(value: &'a str, field: &str) -> Result<&'a str, Status> {
    if value.is_empty() { Err(invalid(format!("{field} is missing"))) } else { Ok(value) }
}

/// A path that must be there and absolute.
pub(super) fn path(value: &str, field: &str) -> Result<PathBuf, Status> {
    let path = Path::new(needed(value, field)?);
    let odd =
        value.len() > PATH_BYTES_MAX || value.contains('\0') || path.components().any(|part| part.as_os_str() == "..");
    if odd || !path.is_absolute() || path.parent().is_none() {
        return Err(invalid(format!("{field} is no absolute path below /")));
    }
    // Without a slash at the end, or two in the middle: the kernel's table has neither.
    Ok(path.components().collect())
}

impl Access {
    pub fn parse(capability: Option<&csi::VolumeCapability>) -> Result<Self, Status> {
        let capability = capability.ok_or_else(|| invalid("volume_capability is missing".to_owned()))?;
        let shape = match &capability.access_type {
            None => return Err(invalid("volume_capability has neither block nor mount".to_owned())),
            Some(AccessType::Block(_)) => Shape::Block,
            Some(AccessType::Mount(mount)) => Shape::mount(mount)?,
        };
        let mode = capability.access_mode.as_ref().map(csi::volume_capability::AccessMode::mode);
        let (reader, single) = match mode.unwrap_or(Mode::Unknown) {
            Mode::SingleNodeWriter | Mode::SingleNodeMultiWriter => (false, false),
            Mode::SingleNodeSingleWriter => (false, true),
            Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly => (true, false),
            Mode::MultiNodeMultiWriter if shape == Shape::Block => (false, false),
            Mode::MultiNodeMultiWriter | Mode::MultiNodeSingleWriter => {
                return Err(invalid("a filesystem cannot be written by several nodes; use raw block".to_owned()));
            }
            Mode::Unknown => return Err(invalid("volume_capability has no access_mode".to_owned())),
        };
        Ok(Self { shape, reader, single })
    }
}

impl Shape {
    fn mount(mount: &csi::volume_capability::MountVolume) -> Result<Self, Status> {
        let unknown = || invalid(format!("fs_type {:?} is not known; it may be ext4, xfs or btrfs", mount.fs_type));
        let filesystem = match mount.fs_type.as_str() {
            "" => None,
            name => Some(Filesystem::named(name).ok_or_else(unknown)?),
        };
        check_flags(&mount.mount_flags).map_err(|fault| invalid(fault.to_string()))?;
        Ok(Self::Mount { filesystem, flags: mount.mount_flags.clone() })
    }
}

impl Context {
    /// Of a volume's context; other keys are not for nodes.
    pub fn parse<'a>(context: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<Self, Status> {
        let context: BTreeMap<&str, &str> =
            context.into_iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let attacher = match context.get(ATTACHER) {
            None => None,
            Some(name) => Some(name.parse().map_err(|fault| invalid(format!("volume_context: {fault}")))?),
        };
        let words = context.get(MKFS_OPTIONS).copied().unwrap_or_default();
        let mkfs_options: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        check_words(&mkfs_options).map_err(|fault| invalid(format!("volume_context: {fault}")))?;
        Ok(Self { attacher, mkfs_options })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proto::csi;
    use proto::csi::volume_capability::access_mode::Mode;
    use proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};

    use super::{Access, Attacher, Context, Filesystem, Shape, path};

    fn mount(fs_type: &str, flags: &[&str]) -> AccessType {
        let mount_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        AccessType::Mount(MountVolume { fs_type: fs_type.to_owned(), mount_flags, ..MountVolume::default() })
    }

    fn access(access_type: AccessType, mode: Mode) -> Result<Access, tonic::Status> {
        let access_mode = Some(AccessMode { mode: mode.into() });
        Access::parse(Some(&csi::VolumeCapability { access_type: Some(access_type), access_mode }))
    }

    #[test]
    fn every_mode_has_its_meaning() {
        let rows = [
            (Mode::Unknown, None, None),
            (Mode::SingleNodeWriter, Some((false, false)), Some((false, false))),
            (Mode::SingleNodeReaderOnly, Some((true, false)), Some((true, false))),
            (Mode::MultiNodeReaderOnly, Some((true, false)), Some((true, false))),
            (Mode::MultiNodeSingleWriter, None, None),
            (Mode::MultiNodeMultiWriter, None, Some((false, false))),
            (Mode::SingleNodeSingleWriter, Some((false, true)), Some((false, true))),
            (Mode::SingleNodeMultiWriter, Some((false, false)), Some((false, false))),
        ];
        let meaning = |access: Access| (access.reader, access.single);
        for (mode, as_mount, as_block) in rows {
            assert_eq!(access(mount("", &[]), mode).ok().map(meaning), as_mount, "{mode:?}");
            assert_eq!(access(AccessType::Block(BlockVolume {}), mode).ok().map(meaning), as_block, "{mode:?}");
        }
        assert!(Access::parse(None).is_err());
        assert!(Access::parse(Some(&csi::VolumeCapability::default())).is_err());
    }

    #[test]
    fn filesystems_and_options_are_those_that_we_know() {
        let of = |fs_type, flags| access(mount(fs_type, flags), Mode::SingleNodeWriter).map(|access| access.shape);
        let xfs = Shape::Mount { filesystem: Some(Filesystem::Xfs), flags: vec!["noatime".to_owned()] };
        assert_eq!(of("xfs", &["noatime"]).unwrap(), xfs);
        assert_eq!(of("", &[]).unwrap(), Shape::Mount { filesystem: None, flags: vec![] });
        assert!(of("zfs", &[]).is_err() && of("ext4", &["bind"]).is_err());
    }

    #[test]
    fn a_context_says_how_and_never_where() {
        let of = |key: &str, value: &str| Context::parse([(&key.to_owned(), &value.to_owned())]);
        assert_eq!(of("attacher", "fuse").unwrap().attacher, Some(Attacher::Fuse));
        assert_eq!(of("mkfsOptions", "-i  size=512").unwrap().mkfs_options, ["-i", "size=512"]);
        assert_eq!(of("else", "/x").unwrap(), Context::default());
        assert!(of("attacher", "magic").is_err() && of("mkfsOptions", "-d name=/dev/sda").is_err());
    }

    #[test]
    fn paths_are_absolute_and_as_the_kernel_has_them() {
        assert_eq!(path("/a//b/", "p").unwrap(), Path::new("/a/b"));
        for bad in ["", "/", "a/b", "/a/../b", "/a\0", &"/x".repeat(3000)] {
            assert!(path(bad, "p").is_err(), "{bad:?}");
        }
    }
}
