//! Why a record is not valid, and the small checks that all records share.

use std::fmt::Display;

use block::PoolId;
use cluster::{ClusterId, Name, RequestId, TokenHash};

/// A record that is whole and makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the field {field} {fault}")]
pub(crate) struct Invalid {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It must be there.
    #[error("is missing")]
    Missing,
    /// It is no protobuf.
    #[error("cannot be read: {0}")]
    Undecodable(String),
    /// It has another length.
    #[error("has {found} bytes, not {expected}")]
    Length {
        /// What it has.
        found: usize,
        /// What it should have.
        expected: usize,
    },
    /// It has a value that cannot be.
    #[error("is not valid: {0}")]
    Value(String),
    /// It stands there twice.
    #[error("stands there twice: {0}")]
    Twice(String),
    /// A later program wrote it.
    #[error("is of version {found}, and this program knows versions up to {known}: start the program that wrote it")]
    Newer {
        /// Its version.
        found: u32,
        /// The last one known.
        known: u32,
    },
}

impl Invalid {
    pub(super) fn new(field: &'static str, fault: Fault) -> Self {
        Self { field, fault }
    }

    pub(super) fn value(field: &'static str, value: impl Display) -> Self {
        Self::new(field, Fault::Value(format!("{value}")))
    }
}

pub(super) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Invalid> {
    value.ok_or(Invalid::new(field, Fault::Missing))
}

pub(super) fn fixed<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], Invalid> {
    bytes.try_into().map_err(|_| Invalid::new(field, Fault::Length { found: bytes.len(), expected: N }))
}

pub(super) fn number(bytes: &[u8], field: &'static str) -> Result<u128, Invalid> {
    fixed(bytes, field).map(u128::from_be_bytes)
}

/// Empty bytes stand for none.
pub(super) fn number_if_any(bytes: &[u8], field: &'static str) -> Result<Option<u128>, Invalid> {
    if bytes.is_empty() { Ok(None) } else { number(bytes, field).map(Some) }
}

pub(super) fn name(text: &str, field: &'static str) -> Result<Name, Invalid> {
    text.parse().map_err(|error| Invalid::value(field, error))
}

pub(super) fn pool(bytes: &[u8], field: &'static str) -> Result<PoolId, Invalid> {
    number(bytes, field).map(PoolId)
}

pub(super) fn cluster(bytes: &[u8], field: &'static str) -> Result<Option<ClusterId>, Invalid> {
    Ok(number_if_any(bytes, field)?.map(ClusterId))
}

pub(super) fn request(bytes: &[u8], field: &'static str) -> Result<Option<RequestId>, Invalid> {
    Ok(number_if_any(bytes, field)?.map(RequestId))
}

pub(super) fn token(bytes: &[u8], field: &'static str) -> Result<TokenHash, Invalid> {
    fixed(bytes, field).map(TokenHash)
}

pub(super) fn bytes_of(number: u128) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}
