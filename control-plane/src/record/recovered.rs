//! What is kept of a recovery.

use block::{PoolId, VolumeId};
use cluster::{Name, Recovered, Time};
use proto::record as wire;

use super::invalid::{Invalid, bytes_of, name, pool};

pub(super) fn parse(found: wire::Recovered) -> Result<Recovered, Invalid> {
    let wire::Recovered { since, resumed, given_up, doubted, unknown_snapshots } = found;
    Ok(Recovered {
        since: Time(since),
        resumed,
        given_up: given_up.iter().map(parse_given_up).collect::<Result<_, _>>()?,
        doubted: doubted.into_iter().map(VolumeId).collect(),
        unknown_snapshots: unknown_snapshots.into_iter().map(|range| (range.first, range.last)).collect(),
    })
}

pub(super) fn encode(recovered: &Recovered) -> wire::Recovered {
    let Recovered { since, resumed, given_up, doubted, unknown_snapshots } = recovered;
    let range = |(first, last): &(u64, u64)| wire::NumberRange { first: *first, last: *last };
    wire::Recovered {
        since: since.0,
        resumed: *resumed,
        given_up: given_up.iter().map(encode_given_up).collect(),
        doubted: doubted.iter().map(|volume| volume.0).collect(),
        unknown_snapshots: unknown_snapshots.iter().map(range).collect(),
    }
}

fn parse_given_up(found: &wire::GivenUpPool) -> Result<(PoolId, Option<Name>), Invalid> {
    let back = match found.back.as_str() {
        "" => None,
        node => Some(name(node, "recovered.given_up.back")?),
    };
    Ok((pool(&found.pool, "recovered.given_up.pool")?, back))
}

fn encode_given_up((pool, back): (&PoolId, &Option<Name>)) -> wire::GivenUpPool {
    let back = back.as_ref().map(ToString::to_string).unwrap_or_default();
    wire::GivenUpPool { pool: bytes_of(pool.0), back }
}
