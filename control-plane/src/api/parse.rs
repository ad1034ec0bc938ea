//! From messages to checked values. Each error names the field.

use cluster::{AccessMode, Labels, Name, Refusal, RequestId, TokenHash, VolumeSpec, ZoneSpread};
use proto::v1;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::fault::{invalid, of_refusal};

/// Replicas that may be asked for. The cluster's state decides on up to [`cluster::REPLICAS_MAX`] of them; storage nodes do
/// not keep more than one yet. Whoever teaches them raises this to what the state can do.
const REPLICAS_OFFERED: u8 = 5;
/// Longest label or tag.
const LABEL_BYTES_MAX: usize = 256;

pub(super) fn name(field: &str, text: &str) -> Result<Name, Status> {
    text.parse().map_err(|error| invalid(field, error))
}

/// Empty for none.
pub(super) fn optional_name(field: &str, text: &str) -> Result<Option<Name>, Status> {
    if text.is_empty() { Ok(None) } else { name(field, text).map(Some) }
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
    let v1::VolumeSpec { replicas, pool_tags, node_selector, description, labels: all, open, in_sync_min, .. } = spec;
    let replicas =
        u8::try_from(replicas.max(1)).map_err(|_| invalid("spec.replicas", format!("{replicas}; 1 to 5 can be")))?;
    if replicas > REPLICAS_OFFERED {
        return Err(of_refusal(&Refusal::Replicas(replicas)));
    }
    let in_sync_min = u8::try_from(in_sync_min)
        .map_err(|_| invalid("spec.in_sync_min", format!("{in_sync_min}; 1 to the number of replicas can be")))?;
    for tag in &pool_tags {
        check_label("spec.pool_tags", tag)?;
    }
    Ok(VolumeSpec {
        replicas,
        members_min: (in_sync_min > 0).then_some(in_sync_min),
        zone_spread,
        pool_tags,
        node_selector: labels("spec.node_selector", node_selector)?,
        description,
        labels: labels("spec.labels", all)?,
        open,
    })
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
        Ok(v1::AccessMode::Unspecified) | Err(_) => Err(invalid("mode", "READ_WRITE or READ_ONLY is needed")),
    }
}

/// What is kept of a token.
pub(super) fn token(token: &[u8]) -> Result<TokenHash, Status> {
    if token.len() != 16 {
        return Err(invalid("token", format!("{} bytes; 16 random ones are needed", token.len())));
    }
    Ok(TokenHash(Sha256::digest(token).into()))
}
