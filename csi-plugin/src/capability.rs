//! How a volume is to be used, and what of that a cluster can do.

use proto::csi::VolumeCapability;
use proto::csi::volume_capability::access_mode::Mode;
use proto::csi::volume_capability::{AccessMode, AccessType};
use proto::v1;
use tonic::Status;

/// Who has it, and what they may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Use {
    /// Writing, alone or beside others, or reading.
    pub mode: v1::AccessMode,
    /// Nobody on another node.
    pub is_single_node: bool,
    /// As a device, and not as a filesystem.
    pub is_device: bool,
}

/// Why it cannot be used so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum CapabilityError {
    #[error("volume_capabilities is missing")]
    Missing,
    #[error("a volume_capability has no access_type: it is block or mount")]
    NoType,
    #[error("a volume_capability has no access_mode")]
    NoMode,
    #[error(
        "access mode {0} cannot be: a volume has one node that writes, or nodes that read (SINGLE_NODE_WRITER, \
         SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_MULTI_WRITER, SINGLE_NODE_READER_ONLY, MULTI_NODE_READER_ONLY), or as a raw \
         device nodes that share it (MULTI_NODE_MULTI_WRITER)"
    )]
    Mode(&'static str),
}

impl From<CapabilityError> for Status {
    fn from(error: CapabilityError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// One way to use a volume.
pub(crate) fn parse(capability: Option<&VolumeCapability>) -> Result<Use, CapabilityError> {
    let capability = capability.ok_or(CapabilityError::Missing)?;
    let is_device = match &capability.access_type {
        Some(AccessType::Block(_)) => true,
        Some(AccessType::Mount(_)) => false,
        None => return Err(CapabilityError::NoType),
    };
    let mode = capability.access_mode.as_ref().map_or(Mode::Unknown, AccessMode::mode);
    let (mode, is_single_node) = match mode {
        Mode::SingleNodeWriter | Mode::SingleNodeSingleWriter | Mode::SingleNodeMultiWriter => {
            (v1::AccessMode::ReadWrite, true)
        }
        Mode::SingleNodeReaderOnly => (v1::AccessMode::ReadOnly, true),
        Mode::MultiNodeReaderOnly => (v1::AccessMode::ReadOnly, false),
        // Filesystems of ours are written by one kernel.
        Mode::MultiNodeMultiWriter if is_device => (v1::AccessMode::Shared, false),
        Mode::Unknown => return Err(CapabilityError::NoMode),
        Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter => {
            return Err(CapabilityError::Mode(mode.as_str_name()));
        }
    };
    Ok(Use { mode, is_single_node, is_device })
}

/// All ways in which a volume is to be used; at least one.
pub(crate) fn check_all(capabilities: &[VolumeCapability]) -> Result<(), CapabilityError> {
    if capabilities.is_empty() {
        return Err(CapabilityError::Missing);
    }
    capabilities.iter().try_for_each(|capability| parse(Some(capability)).map(drop))
}

#[cfg(test)]
mod tests {
    use proto::csi::VolumeCapability;
    use proto::csi::volume_capability::access_mode::Mode;
    use proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
    use proto::v1;

    use super::{CapabilityError, Use, check_all, parse};

    fn capability(mode: Mode) -> VolumeCapability {
        VolumeCapability {
            access_mode: Some(AccessMode { mode: mode.into() }),
            access_type: Some(AccessType::Block(BlockVolume {})),
        }
    }

    #[test]
    fn one_node_writes_or_many_read_or_share_a_device() {
        let rows = [
            (Mode::SingleNodeWriter, Some((v1::AccessMode::ReadWrite, true))),
            (Mode::SingleNodeSingleWriter, Some((v1::AccessMode::ReadWrite, true))),
            (Mode::SingleNodeMultiWriter, Some((v1::AccessMode::ReadWrite, true))),
            (Mode::SingleNodeReaderOnly, Some((v1::AccessMode::ReadOnly, true))),
            (Mode::MultiNodeReaderOnly, Some((v1::AccessMode::ReadOnly, false))),
            (Mode::MultiNodeSingleWriter, None),
            (Mode::MultiNodeMultiWriter, Some((v1::AccessMode::Shared, false))),
            (Mode::Unknown, None),
        ];
        for (mode, expected) in rows {
            let expected = expected.map(|(mode, is_single_node)| Use { mode, is_single_node, is_device: true });
            assert_eq!(parse(Some(&capability(mode))).ok(), expected, "{mode:?}");
            let mount = Some(AccessType::Mount(MountVolume::default()));
            let mount = VolumeCapability { access_type: mount, ..capability(mode) };
            let expected = expected.filter(|expected| expected.mode != v1::AccessMode::Shared);
            let expected = expected.map(|expected| Use { is_device: false, ..expected });
            assert_eq!(parse(Some(&mount)).ok(), expected, "{mode:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(check_all(&[]), Err(CapabilityError::Missing));
        assert_eq!(parse(None), Err(CapabilityError::Missing));
        let whole = capability(Mode::SingleNodeWriter);
        let typeless = VolumeCapability { access_type: None, ..whole.clone() };
        assert_eq!(check_all(&[whole.clone(), typeless]), Err(CapabilityError::NoType));
        assert_eq!(check_all(&[VolumeCapability { access_mode: None, ..whole }]), Err(CapabilityError::NoMode));
    }
}
