//! Sets of groups of blocks: what is to be copied.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use block::GroupIndex;

/// Groups of one volume, one bit each where there are any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupSet {
    words: BTreeMap<u64, u64>,
    len: u64,
}

impl GroupSet {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one.
    pub fn insert(&mut self, group: GroupIndex) {
        let word = self.words.entry(group.0 >> 6).or_default();
        self.len += u64::from(*word & bit(group) == 0);
        *word |= bit(group);
    }

    /// Adds every one of another set.
    pub fn extend(&mut self, other: &Self) {
        other.words().for_each(|(index, bits)| self.insert_word(index, bits));
    }

    /// Takes one out.
    pub fn remove(&mut self, group: GroupIndex) {
        if let Some(word) = self.words.get_mut(&(group.0 >> 6)) {
            self.len -= u64::from(*word & bit(group) != 0);
            *word &= !bit(group);
            if *word == 0 {
                self.words.remove(&(group.0 >> 6));
            }
        }
    }

    /// Whether it is there.
    #[must_use]
    pub fn contains(&self, group: GroupIndex) -> bool {
        self.words.get(&(group.0 >> 6)).is_some_and(|word| word & bit(group) != 0)
    }

    /// Whether every one of these is there.
    #[must_use]
    pub fn contains_all(&self, groups: RangeInclusive<u64>) -> bool {
        groups.into_iter().all(|group| self.contains(GroupIndex(group)))
    }

    /// The first one.
    #[must_use]
    pub fn first(&self) -> Option<GroupIndex> {
        self.words.first_key_value().map(|(index, word)| GroupIndex((index << 6) + u64::from(word.trailing_zeros())))
    }

    /// In order: 64 groups from `64 * index` on, bit i for the i-th; words without any are left out.
    pub fn words(&self) -> impl Iterator<Item = (u64, u64)> {
        self.words.iter().map(|(index, word)| (*index, *word))
    }

    /// Adds the groups of one word.
    pub fn insert_word(&mut self, index: u64, bits: u64) {
        let word = self.words.entry(index).or_default();
        self.len += u64::from((bits & !*word).count_ones());
        *word |= bits;
    }
}

fn bit(group: GroupIndex) -> u64 {
    1 << (group.0 & 63)
}

impl FromIterator<GroupIndex> for GroupSet {
    fn from_iter<I: IntoIterator<Item = GroupIndex>>(groups: I) -> Self {
        let mut set = Self::default();
        groups.into_iter().for_each(|group| set.insert(group));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use block::GroupIndex;

    use super::GroupSet;

    #[test]
    fn a_set_is_what_a_plain_set_is() {
        let mut plain = BTreeSet::new();
        let mut set = GroupSet::default();
        let mut at = 1_u64;
        for step in 0..4000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let group = GroupIndex((at >> 33) % 200);
            if step % 3 == 0 {
                set.remove(group);
                plain.remove(&group);
            } else {
                set.insert(group);
                plain.insert(group);
            }
            assert_eq!((set.len(), set.first()), (plain.len() as u64, plain.first().copied()));
        }
        assert_eq!(set, plain.iter().copied().collect());
        let mut other: GroupSet = (100..300).map(GroupIndex).collect();
        other.extend(&set);
        plain.extend((100..300).map(GroupIndex));
        assert_eq!(other.len(), plain.len() as u64);
        assert!(other.contains_all(100..=299) && !other.contains_all(100..=300));
        let mut copied = GroupSet::default();
        other.words().for_each(|(index, bits)| copied.insert_word(index, bits));
        assert_eq!(copied, other);
    }
}
