//! What voters keep and send to each other, as bytes: versioned protobuf at the edge. Types of the domain are never
//! serialised themselves; each has its message in `proto/plinth/record`, and its way there and back here.
//!
//! Reading checks everything: a record that is not valid is an error with the name of the field, never a panic. That a
//! record is whole is not looked at here; frames on disk and checksums on the wire do that.

mod command;
mod group;
mod identity;
mod invalid;
mod log;
mod operation;
mod point;
mod recovered;
mod replica;
mod schedule;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod volume;

use prost::Message;

pub(crate) use identity::{read_identity, write_identity};
pub(crate) use invalid::{Fault, Invalid};
pub(crate) use log::{
    encode_log_id, encode_vote, parse_log_id_if_any, parse_vote, read_entry, read_log_id, read_vote, write_entry,
    write_log_id, write_vote,
};
pub(crate) use snapshot::{Current, encode_meta, parse_meta, read_current, write_current};
pub(crate) use state::{read_state, write_state};

/// How long a command is as a record.
pub(crate) fn command_len(command: &cluster::Command) -> usize {
    command::encode(command).encoded_len()
}

fn decode<M: Message + Default>(bytes: &[u8], record: &'static str) -> Result<M, Invalid> {
    M::decode(bytes).map_err(|error| Invalid::new(record, Fault::Undecodable(error.to_string())))
}
