//! Block ranges of one volume that are being read, changed and written back, and who waits for them.
//!
//! A claim is held by at most one part at a time per block. Claims are granted in the order they were made among
//! those that overlap, so nobody waits forever. Whoever needs no read before its write makes a claim only when it
//! overlaps another, because the store orders writes by itself: on the usual path the list is empty.

use block::BlockRange;

use crate::slab::Key;

/// The claims of one volume, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claims: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    part: Key,
    range: BlockRange,
    /// Older claims that overlap this one; it is granted at 0.
    ahead: u32,
}

impl Claims {
    pub fn overlaps(&self, range: BlockRange) -> bool {
        self.claims.iter().any(|claim| claim.range.overlaps(range))
    }

    /// Claims `range` for `part`; answers whether it is granted at once.
    pub fn claim(&mut self, part: Key, range: BlockRange) -> bool {
        let overlapping = self.claims.iter().filter(|claim| claim.range.overlaps(range)).count();
        let ahead = u32::try_from(overlapping).expect("the limits keep the parts far below 2^32");
        self.claims.push(Claim { part, range, ahead });
        ahead == 0
    }

    /// Ends `part`'s claim and calls `granted` for every part whose claim is granted by that.
    pub fn release(&mut self, part: Key, mut granted: impl FnMut(Key)) {
        let Some(index) = self.claims.iter().position(|claim| claim.part == part) else { return };
        let released = self.claims.remove(index);
        assert_eq!(released.ahead, 0, "only a granted claim is released");
        for later in &mut self.claims[index..] {
            if later.range.overlaps(released.range) {
                later.ahead -= 1;
                if later.ahead == 0 {
                    granted(later.part);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use block::BlockRange;

    use super::Claims;
    use crate::slab::Key;

    fn part(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    fn release(claims: &mut Claims, slot: u32) -> Vec<u32> {
        let mut granted = Vec::new();
        claims.release(part(slot), |key| granted.push(key.slot));
        granted
    }

    #[test]
    fn overlapping_claims_are_granted_in_the_order_they_were_made() {
        let mut claims = Claims::default();
        assert!(claims.claim(part(1), BlockRange::new(0, 4)));
        assert!(!claims.claim(part(2), BlockRange::new(2, 4)));
        assert!(!claims.claim(part(3), BlockRange::new(5, 4)), "behind the waiting one, not past it");
        assert!(claims.claim(part(4), BlockRange::new(100, 1)), "elsewhere is free");
        assert_eq!(release(&mut claims, 4), []);
        assert_eq!(release(&mut claims, 1), [2]);
        assert_eq!(release(&mut claims, 2), [3]);
        assert_eq!(release(&mut claims, 3), []);
        assert!(claims.claims.is_empty());
    }

    #[test]
    fn one_release_can_grant_many() {
        let mut claims = Claims::default();
        assert!(claims.claim(part(1), BlockRange::new(0, 100)));
        for slot in 2..10 {
            assert!(!claims.claim(part(slot), BlockRange::new(u64::from(slot), 1)));
        }
        assert!(!claims.overlaps(BlockRange::new(100, 1)) && claims.overlaps(BlockRange::new(99, 1)));
        assert_eq!(release(&mut claims, 1), [2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
