//! Parts that commands and the state have in common.

use cluster::{AccessMode, Addresses, Admin, Settings, VolumeSpec};
use proto::record as wire;

use super::invalid::{Invalid, required};

pub(super) fn parse_spec(found: Option<wire::VolumeSpec>, field: &'static str) -> Result<VolumeSpec, Invalid> {
    let wire::VolumeSpec { replicas, pool_tags, node_selector, description, labels, open } = required(found, field)?;
    let replicas = u8::try_from(replicas).map_err(|error| Invalid::value("spec.replicas", error))?;
    Ok(VolumeSpec { replicas, pool_tags, node_selector, description, labels, open })
}

pub(super) fn encode_spec(spec: &VolumeSpec) -> wire::VolumeSpec {
    let VolumeSpec { replicas, pool_tags, node_selector, description, labels, open } = spec.clone();
    wire::VolumeSpec { replicas: replicas.into(), pool_tags, node_selector, description, labels, open }
}

pub(super) fn parse_addresses(found: Option<wire::Addresses>, field: &'static str) -> Result<Addresses, Invalid> {
    let wire::Addresses { peers, nbd } = required(found, field)?;
    Ok(Addresses { peers, nbd })
}

pub(super) fn encode_addresses(addresses: &Addresses) -> wire::Addresses {
    let Addresses { peers, nbd } = addresses.clone();
    wire::Addresses { peers, nbd }
}

pub(super) fn parse_settings(found: wire::Settings) -> Settings {
    let wire::Settings { overcommit_percent, full_percent } = found;
    Settings { overcommit_percent, full_percent }
}

pub(super) fn encode_settings(settings: Settings) -> wire::Settings {
    let Settings { overcommit_percent, full_percent } = settings;
    wire::Settings { overcommit_percent, full_percent }
}

pub(super) fn parse_admin(found: i32, field: &'static str) -> Result<Admin, Invalid> {
    match wire::Admin::try_from(found) {
        Ok(wire::Admin::Schedulable) => Ok(Admin::Schedulable),
        Ok(wire::Admin::Cordoned) => Ok(Admin::Cordoned),
        Ok(wire::Admin::Draining) => Ok(Admin::Draining),
        Ok(wire::Admin::Unspecified) | Err(_) => Err(Invalid::value(field, found)),
    }
}

pub(super) fn encode_admin(admin: Admin) -> i32 {
    let admin = match admin {
        Admin::Schedulable => wire::Admin::Schedulable,
        Admin::Cordoned => wire::Admin::Cordoned,
        Admin::Draining => wire::Admin::Draining,
    };
    admin.into()
}

pub(super) fn parse_mode(found: i32, field: &'static str) -> Result<AccessMode, Invalid> {
    match wire::AccessMode::try_from(found) {
        Ok(wire::AccessMode::ReadWrite) => Ok(AccessMode::ReadWrite),
        Ok(wire::AccessMode::ReadOnly) => Ok(AccessMode::ReadOnly),
        Ok(wire::AccessMode::Unspecified) | Err(_) => Err(Invalid::value(field, found)),
    }
}

pub(super) fn encode_mode(mode: AccessMode) -> i32 {
    let mode = match mode {
        AccessMode::ReadWrite => wire::AccessMode::ReadWrite,
        AccessMode::ReadOnly => wire::AccessMode::ReadOnly,
    };
    mode.into()
}
