//! What is decided about one replicated volume. Everything here is a function of what is kept and known of the volume, and
//! of the time that commands carry; who changes the state accordingly is in `apply`.
//!
//! There are three ways to the next configuration, and no other:
//! - a member as it is asked for it ([`NotAccepted`] says why not),
//! - no member is there as it was, and one that is back is gone on from ([`recovery()`]), or an operator says from which,
//! - the number of members needed for writes changed: the same members and the same primary under the next epoch, as if
//!   the primary had asked for what it has.

mod moves;
mod proposal;
mod recovery;

pub(crate) use moves::{Move, Surplus, next_move, still_goes};
pub use proposal::NotAccepted;
pub(crate) use recovery::{Recovery, Source, recovery};
