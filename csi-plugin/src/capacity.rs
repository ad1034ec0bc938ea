//! How large a volume is to be. What is asked for is given exactly, but for whole blocks, and never more than allowed.

use proto::csi::CapacityRange;
use tonic::Status;

/// Volumes are made of whole blocks.
const BLOCK_BYTES: u64 = 4096;
/// Smallest volume.
pub(crate) const VOLUME_BYTES_MIN: u64 = 1 << 20;
/// Largest volume.
const VOLUME_BYTES_MAX: u64 = 64 << 40;
/// What is given to who does not say.
const VOLUME_BYTES_USUAL: u64 = 1 << 30;

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Range {
    /// 0 for anything.
    pub required_bytes: u64,
    /// None for anything.
    pub limit_bytes: Option<u64>,
}

impl Range {
    /// # Errors
    /// Numbers that are none.
    pub fn parse(range: Option<&CapacityRange>) -> Result<Self, Status> {
        let Some(range) = range else { return Ok(Self::default()) };
        let bytes = |field: &str, bytes: i64| {
            u64::try_from(bytes).map_err(|_| Status::invalid_argument(format!("capacity_range.{field} is {bytes}")))
        };
        let required_bytes = bytes("required_bytes", range.required_bytes)?;
        let limit_bytes = Some(bytes("limit_bytes", range.limit_bytes)?).filter(|limit| *limit > 0);
        Ok(Self { required_bytes, limit_bytes })
    }

    /// Whether a volume of this size will do.
    pub fn contains(&self, size_bytes: u64) -> bool {
        size_bytes >= self.required_bytes && self.limit_bytes.is_none_or(|limit| size_bytes <= limit)
    }

    /// The size of a new volume, which begins as something of `source_bytes`, or as nothing.
    ///
    /// # Errors
    /// `OUT_OF_RANGE`.
    pub fn size(&self, source_bytes: Option<u64>) -> Result<u64, Status> {
        let least = source_bytes.unwrap_or(VOLUME_BYTES_MIN);
        if let Some(source) = source_bytes.filter(|source| (1..*source).contains(&self.required_bytes)) {
            let required = self.required_bytes;
            return Err(Status::out_of_range(format!(
                "{required} bytes are less than what the volume is to begin as, which has {source}: ask for as much"
            )));
        }
        let usual = match (source_bytes, self.limit_bytes) {
            (Some(source), _) => source,
            (None, Some(limit)) => VOLUME_BYTES_USUAL.min(limit / BLOCK_BYTES * BLOCK_BYTES),
            (None, None) => VOLUME_BYTES_USUAL,
        };
        let wanted = if self.required_bytes == 0 { usual } else { self.required_bytes };
        self.checked(wanted.max(least))
    }

    /// The size of a volume that has `size_bytes` and is to be larger.
    ///
    /// # Errors
    /// `OUT_OF_RANGE`.
    pub fn grown(&self, size_bytes: u64) -> Result<u64, Status> {
        self.checked(self.required_bytes.max(size_bytes))
    }

    fn checked(&self, wanted: u64) -> Result<u64, Status> {
        let whole = wanted.checked_next_multiple_of(BLOCK_BYTES).filter(|bytes| *bytes <= VOLUME_BYTES_MAX);
        let whole = whole.ok_or_else(|| {
            Status::out_of_range(format!("{wanted} bytes are too many: a volume has at most {VOLUME_BYTES_MAX}"))
        })?;
        match self.limit_bytes {
            Some(limit) if whole > limit => Err(Status::out_of_range(format!(
                "the volume would have {whole} bytes, more than the limit of {limit}: it is a multiple of {BLOCK_BYTES} \
                 from {VOLUME_BYTES_MIN} on, and not smaller than what it begins as or is"
            ))),
            Some(_) | None => Ok(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::csi::CapacityRange;
    use tonic::Code;

    use super::{Range, VOLUME_BYTES_MAX, VOLUME_BYTES_MIN, VOLUME_BYTES_USUAL};

    const GIB: u64 = 1 << 30;

    fn range(required_bytes: u64, limit_bytes: u64) -> Range {
        let of = |bytes| i64::try_from(bytes).unwrap();
        Range::parse(Some(&CapacityRange { required_bytes: of(required_bytes), limit_bytes: of(limit_bytes) })).unwrap()
    }

    /// Required, limit, source: size.
    #[test]
    fn a_volume_has_what_was_asked_for_and_never_more_than_the_limit() {
        let rows = [
            (0, 0, None, Some(VOLUME_BYTES_USUAL)),
            (GIB, GIB, None, Some(GIB)),
            (GIB + 1, 0, None, Some(GIB + 4096)),
            (GIB + 1, GIB + 1, None, None),
            (GIB + 1, GIB + 4096, None, Some(GIB + 4096)),
            (1, 0, None, Some(VOLUME_BYTES_MIN)),
            (1, 4096, None, None),
            (0, 10_000_000, None, Some(9_998_336)),
            (0, 100, None, None),
            (2 * GIB, GIB, None, None),
            (VOLUME_BYTES_MAX, 0, None, Some(VOLUME_BYTES_MAX)),
            (VOLUME_BYTES_MAX + 1, 0, None, None),
            (i64::MAX as u64, 0, None, None),
            (0, 0, Some(2 * GIB), Some(2 * GIB)),
            (GIB, 0, Some(2 * GIB), None),
            (3 * GIB, 0, Some(2 * GIB), Some(3 * GIB)),
            (0, GIB, Some(2 * GIB), None),
        ];
        for (required, limit, source, expected) in rows {
            let found = range(required, limit).size(source);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{required} {limit} {source:?}");
            if let Err(status) = found {
                assert_eq!(status.code(), Code::OutOfRange);
            }
        }
    }

    #[test]
    fn a_volume_grows_and_never_shrinks() {
        assert_eq!(range(2 * GIB, 0).grown(GIB).unwrap(), 2 * GIB);
        assert_eq!(range(GIB, 0).grown(2 * GIB).unwrap(), 2 * GIB);
        assert_eq!(range(GIB, GIB).grown(2 * GIB).unwrap_err().code(), Code::OutOfRange);
    }

    #[test]
    fn negative_sizes_are_refused() {
        for (required_bytes, limit_bytes) in [(-1, 0), (0, -1)] {
            let found = Range::parse(Some(&CapacityRange { required_bytes, limit_bytes }));
            assert_eq!(found.unwrap_err().code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn a_size_within_the_range_will_do() {
        assert!(range(GIB, 0).contains(2 * GIB) && range(0, 0).contains(1) && range(GIB, GIB).contains(GIB));
        assert!(!range(GIB, GIB).contains(2 * GIB) && !range(2 * GIB, 0).contains(GIB));
    }
}
