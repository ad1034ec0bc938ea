//! By what a connection was let in, and how much of what it asked for is still under way.

use block::VolumeId;

/// What lets a client use a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    /// The volume is open.
    Open,
    /// The attachment of this generation, which no other of the volume has.
    Attachment { generation: u64, read_only: bool },
}

/// A client's permission for as long as its connection lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pass {
    pub volume: VolumeId,
    pub grant: Grant,
}

impl Grant {
    /// Whether it is a writer's, which has one connection at a time. Another writer beside it is another grant.
    pub fn is_writers(self) -> bool {
        match self {
            Self::Attachment { read_only, .. } => !read_only,
            Self::Open => false,
        }
    }

    pub fn is_read_only(self) -> bool {
        match self {
            Self::Attachment { read_only, .. } => read_only,
            Self::Open => false,
        }
    }

    /// Its number among those of a volume: attachments count from 1.
    fn number(self) -> u64 {
        match self {
            Self::Open => 0,
            Self::Attachment { generation, .. } => generation,
        }
    }
}

impl Pass {
    /// As the session knows it.
    pub fn handle(self) -> u128 {
        u128::from(self.volume.0) << 64 | u128::from(self.grant.number())
    }
}

/// Volume and number of the grant of a [`Pass::handle`].
pub(crate) fn parts_of(handle: u128) -> (VolumeId, u64) {
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("masked to 64 bits");
    (VolumeId(half(handle >> 64)), half(handle))
}

/// Requests of one volume that were admitted and have not ended, by what let their clients in.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    /// Usually one; as many as clients of different attachments were here since the last [`Admissions::tidy`].
    counts: Vec<(Grant, u32)>,
}

impl Admissions {
    pub fn begin(&mut self, grant: Grant) {
        match self.counts.iter_mut().find(|(one, _)| *one == grant) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((grant, 1)),
        }
    }

    pub fn end(&mut self, grant: Grant) {
        let (_, count) = self.counts.iter_mut().find(|(one, _)| *one == grant).expect("what ends was begun");
        *count -= 1;
    }

    pub fn of(&self, grant: Grant) -> u32 {
        self.counts.iter().find(|(one, _)| *one == grant).map_or(0, |(_, count)| *count)
    }

    /// Whether any is by a grant that is none of these.
    pub fn any_but(&self, covered: impl Fn(Grant) -> bool) -> bool {
        self.counts.iter().any(|(grant, count)| *count > 0 && !covered(*grant))
    }

    /// Forgets grants of which nothing is under way.
    pub fn tidy(&mut self) {
        self.counts.retain(|(_, count)| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use block::VolumeId;

    use super::{Admissions, Grant, Pass, parts_of};

    #[test]
    fn a_handle_gives_its_parts_back() {
        for (volume, generation) in [(0, 1), (1, u64::MAX), (u64::MAX, 7)] {
            let volume = VolumeId(volume);
            let attached = Pass { volume, grant: Grant::Attachment { generation, read_only: true } };
            assert_eq!(parts_of(attached.handle()), (volume, generation));
            assert_eq!(parts_of(Pass { volume, grant: Grant::Open }.handle()), (volume, 0));
        }
    }

    #[test]
    fn requests_are_counted_by_what_let_them_in() {
        let (first, second) = (Grant::Open, Grant::Attachment { generation: 2, read_only: false });
        let mut admissions = Admissions::default();
        admissions.begin(first);
        admissions.begin(second);
        admissions.begin(second);
        assert_eq!((admissions.of(first), admissions.of(second)), (1, 2));
        admissions.end(first);
        assert!(!admissions.any_but(|grant| grant == second) && admissions.any_but(|grant| grant == first));
        admissions.tidy();
        admissions.end(second);
        admissions.end(second);
        assert!(!admissions.any_but(|_| false));
    }
}
