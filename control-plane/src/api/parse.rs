//! From messages to checked values. Each error names the field.

use block::PoolId;
use cluster::{
    AccessMode, Claim, Labels, Modification, Name, REPLICAS_MAX, RequestId, Source, TokenHash, VolumeSpec, ZoneSpread,
};
use proto::v1;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::fault::invalid;

/// Longest label or tag.
const LABEL_BYTES_MAX: usize = 256;

pub(super) fn name(field: &str, text: &str) -> Result<Name, Status> {
    text.parse().map_err(|error| invalid(field, error))
}

/// Empty for none.
pub(super) fn optional_name(field: &str, text: &str) -> Result<Option<Name>, Status> {
    if text.is_empty() { Ok(None) } else { name(field, text).map(Some) }
}

/// As a list shows it, with or without its dashes.
pub(super) fn pool(field: &str, text: &str) -> Result<PoolId, Status> {
    let digits = text.replace('-', "");
    let id = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    id.map(PoolId).ok_or_else(|| invalid(field, "a pool's id has 32 hexadecimal digits"))
}

/// Empty for none.
pub(super) fn request_id(bytes: &[u8]) -> Result<Option<RequestId>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let id = bytes.try_into().map(u128::from_be_bytes);
    let found = bytes.len();
    id.map(|id| Some(RequestId(id)))
        .map_err(|_| invalid("request_id", format!("{found} bytes; 16 random ones are needed")))
}

pub(super) fn spec(spec: Option<v1::VolumeSpec>) -> Result<VolumeSpec, Status> {
    let spec = spec.unwrap_or_default();
    let zone_spread = spread(spec.zone_spread());
    let v1::VolumeSpec {
        replicas, pool_tags, node_selector, description, labels: all, open, in_sync_min, places, ..
    } = spec;
    let (replicas, in_sync_min) = (few("spec.replicas", replicas.max(1))?, few("spec.in_sync_min", in_sync_min)?);
    for tag in &pool_tags {
        check_label("spec.pool_tags", tag)?;
    }
    Ok(VolumeSpec {
        replicas,
        members_min: (in_sync_min > 0).then_some(in_sync_min),
        zone_spread,
        pool_tags,
        node_selector: labels("spec.node_selector", node_selector)?,
        places: places.into_iter().map(|place| labels("spec.places", place.labels)).collect::<Result<_, _>>()?,
        description,
        labels: labels("spec.labels", all)?,
        open,
    })
}

/// Those parameters that are given.
pub(super) fn modification(request: v1::ModifyVolumeRequest) -> Result<Modification, Status> {
    let zone_spread = request.zone_spread.is_some().then(|| spread(request.zone_spread()));
    let v1::ModifyVolumeRequest { description, labels: all, open, replicas, in_sync_min, .. } = request;
    Ok(Modification {
        description,
        labels: all.map(|all| labels("labels", all.labels)).transpose()?,
        open,
        replicas: replicas.map(|replicas| few("replicas", replicas)).transpose()?,
        members_min: in_sync_min.map(|min| few("in_sync_min", min)).transpose()?,
        zone_spread,
    })
}

/// Whether there can be so many is decided elsewhere.
fn few(field: &str, count: u32) -> Result<u8, Status> {
    u8::try_from(count).map_err(|_| invalid(field, format!("{count}; 1 to {REPLICAS_MAX} can be")))
}

fn spread(spread: v1::ZoneSpread) -> ZoneSpread {
    match spread {
        v1::ZoneSpread::Unspecified | v1::ZoneSpread::Preferred => ZoneSpread::Preferred,
        v1::ZoneSpread::Required => ZoneSpread::Required,
        v1::ZoneSpread::None => ZoneSpread::None,
    }
}

pub(super) fn labels(field: &str, labels: Labels) -> Result<Labels, Status> {
    for (key, value) in &labels {
        check_label(field, key)?;
        if value.len() > LABEL_BYTES_MAX {
            return Err(invalid(field, format!("a value has {} bytes; at most {LABEL_BYTES_MAX} can be", value.len())));
        }
    }
    Ok(labels)
}

fn check_label(field: &str, text: &str) -> Result<(), Status> {
    if text.is_empty() || text.len() > LABEL_BYTES_MAX {
        return Err(invalid(field, format!("a label or tag has {} bytes; 1 to {LABEL_BYTES_MAX} can be", text.len())));
    }
    Ok(())
}

pub(super) fn mode(mode: i32) -> Result<AccessMode, Status> {
    match v1::AccessMode::try_from(mode) {
        Ok(v1::AccessMode::ReadWrite) => Ok(AccessMode::ReadWrite),
        Ok(v1::AccessMode::ReadOnly) => Ok(AccessMode::ReadOnly),
        Ok(v1::AccessMode::Shared) => Ok(AccessMode::Shared),
        Ok(v1::AccessMode::Unspecified) | Err(_) => Err(invalid("mode", "READ_WRITE, READ_ONLY or SHARED is needed")),
    }
}

/// What a client that asks for an attachment takes to be so already.
pub(super) fn claim(renew: bool, keep: bool) -> Result<Claim, Status> {
    match (renew, keep) {
        (false, false) => Ok(Claim::Take),
        (false, true) => Ok(Claim::Keep),
        (true, false) => Ok(Claim::Renew),
        (true, true) => Err(invalid("renew", "it cannot be beside `keep`: choose one")),
    }
}

/// What is kept of a token.
pub(super) fn token(token: &[u8]) -> Result<TokenHash, Status> {
    if token.len() != 16 {
        return Err(invalid("token", format!("{} bytes; 16 random ones are needed", token.len())));
    }
    Ok(TokenHash(Sha256::digest(token).into()))
}

/// What a volume begins as.
pub(super) fn source(found: v1::Source) -> Result<Source, Status> {
    match found.from {
        Some(v1::source::From::Snapshot(snapshot)) => Ok(Source::Snapshot(name("source.snapshot", &snapshot)?)),
        Some(v1::source::From::Volume(volume)) => Ok(Source::Volume(name("source.volume", &volume)?)),
        None => Err(invalid("source", "it names neither a snapshot nor a volume")),
    }
}
