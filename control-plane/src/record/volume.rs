//! Parts that commands and the state have in common.

use cluster::{AccessMode, Addresses, Admin, Claim, Settings, VolumeSpec, ZoneSpread};
use proto::record as wire;

use super::invalid::{Invalid, required};

pub(super) fn parse_spec(found: Option<wire::VolumeSpec>, field: &'static str) -> Result<VolumeSpec, Invalid> {
    let found = required(found, field)?;
    let wire::VolumeSpec { pool_tags, node_selector, description, labels, open, places, .. } = found;
    Ok(VolumeSpec {
        replicas: copies(found.replicas, "spec.replicas")?,
        members_min: found.members_min.map(|count| copies(count, "spec.members_min")).transpose()?,
        zone_spread: parse_spread(found.zone_spread, "spec.zone_spread")?,
        pool_tags,
        node_selector,
        places: places.into_iter().map(|place| place.labels).collect(),
        description,
        labels,
        open,
    })
}

pub(super) fn encode_spec(spec: &VolumeSpec) -> wire::VolumeSpec {
    let VolumeSpec { replicas, members_min, zone_spread, pool_tags, node_selector, places, description, labels, open } =
        spec.clone();
    wire::VolumeSpec {
        replicas: replicas.into(),
        members_min: members_min.map(u32::from),
        zone_spread: encode_spread(zone_spread),
        pool_tags,
        node_selector,
        places: places.into_iter().map(|labels| wire::Labels { labels }).collect(),
        description,
        labels,
        open,
    }
}

/// A number of copies.
pub(super) fn copies(found: u32, field: &'static str) -> Result<u8, Invalid> {
    u8::try_from(found).map_err(|error| Invalid::value(field, error))
}

pub(super) fn parse_spread(found: i32, field: &'static str) -> Result<ZoneSpread, Invalid> {
    match wire::ZoneSpread::try_from(found) {
        Ok(wire::ZoneSpread::Preferred) => Ok(ZoneSpread::Preferred),
        Ok(wire::ZoneSpread::Required) => Ok(ZoneSpread::Required),
        Ok(wire::ZoneSpread::None) => Ok(ZoneSpread::None),
        Err(_) => Err(Invalid::value(field, found)),
    }
}

pub(super) fn encode_spread(spread: ZoneSpread) -> i32 {
    let spread = match spread {
        ZoneSpread::Preferred => wire::ZoneSpread::Preferred,
        ZoneSpread::Required => wire::ZoneSpread::Required,
        ZoneSpread::None => wire::ZoneSpread::None,
    };
    spread.into()
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
    let wire::Settings { overcommit_percent, full_percent, replace_after_ms } = found;
    let replace_after_ms = replace_after_ms.unwrap_or(Settings::default().replace_after_ms);
    Settings { overcommit_percent, full_percent, replace_after_ms }
}

pub(super) fn encode_settings(settings: Settings) -> wire::Settings {
    let Settings { overcommit_percent, full_percent, replace_after_ms } = settings;
    wire::Settings { overcommit_percent, full_percent, replace_after_ms: Some(replace_after_ms) }
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
        Ok(wire::AccessMode::Shared) => Ok(AccessMode::Shared),
        Ok(wire::AccessMode::Unspecified) | Err(_) => Err(Invalid::value(field, found)),
    }
}

pub(super) fn encode_mode(mode: AccessMode) -> i32 {
    let mode = match mode {
        AccessMode::ReadWrite => wire::AccessMode::ReadWrite,
        AccessMode::ReadOnly => wire::AccessMode::ReadOnly,
        AccessMode::Shared => wire::AccessMode::Shared,
    };
    mode.into()
}

pub(super) fn parse_claim(found: i32, field: &'static str) -> Result<Claim, Invalid> {
    match wire::AttachClaim::try_from(found) {
        Ok(wire::AttachClaim::Take) => Ok(Claim::Take),
        Ok(wire::AttachClaim::Keep) => Ok(Claim::Keep),
        Ok(wire::AttachClaim::Renew) => Ok(Claim::Renew),
        Err(_) => Err(Invalid::value(field, found)),
    }
}

pub(super) fn encode_claim(claim: Claim) -> i32 {
    let claim = match claim {
        Claim::Take => wire::AttachClaim::Take,
        Claim::Keep => wire::AttachClaim::Keep,
        Claim::Renew => wire::AttachClaim::Renew,
    };
    claim.into()
}
