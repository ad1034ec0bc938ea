//! What a request must say.

use tonic::Status;

/// A field that must not be empty.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn needed<'a>(field: &str, value: &'a str) -> Result<&'a str, Status> {
    if value.is_empty() { Err(Status::invalid_argument(format!("{field} is missing"))) } else { Ok(value) }
}
