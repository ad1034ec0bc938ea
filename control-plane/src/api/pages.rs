//! Pages of lists.

use tonic::Status;

use super::fault::invalid;

/// Things on a page.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;

/// How many things are on a page when so many are asked for.
pub(super) fn page_size(asked: u32) -> Result<usize, Status> {
    match asked as usize {
        0 => Ok(PAGE_DEFAULT),
        asked if asked <= PAGE_MAX => Ok(asked),
        asked => Err(invalid("page_size", format!("{asked}; at most {PAGE_MAX} can be"))),
    }
}
