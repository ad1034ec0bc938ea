//! A table of things in flight. Each is named by a slot, used again later, and a generation, never used again, so
//! that a late word about something that is gone is recognised.

/// Names one thing in a [`Slots`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// Place in the table: small, dense, reused.
    pub slot: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// A bounded table.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    slots_max: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl Key {
    /// As one number, for the kernel to carry.
    pub fn to_bits(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.slot)
    }

    /// The inverse of [`Key::to_bits`].
    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
    pub fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl<T> Slots<T> {
    /// Room for `slots_max` things; memory is taken as it is needed.
    pub fn new(slots_max: u32) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), slots_max }
    }

    /// Number of things in the table.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there is room for another one.
    pub fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    /// Whether there is room for `count` more.
    pub fn has_room_for(&self, count: usize) -> bool {
        self.len() + count <= self.slots_max as usize
    }

    /// Keeps `value`. The caller has made sure of [`Slots::has_room`].
    pub fn insert(&mut self, value: T) -> Key {
        assert!(self.has_room(), "the table's bound is the sum of its users' bounds");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, value: None });
            u32::try_from(self.entries.len() - 1).expect("slots_max is a u32")
        });
        let entry = &mut self.entries[slot as usize];
        entry.value = Some(value);
        Key { slot, generation: entry.generation }
    }

    /// The thing named `key`, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// Takes the thing named `key` out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Slots};

    #[test]
    fn a_slot_is_reused_and_its_old_name_is_not() {
        let mut slots = Slots::new(2);
        let first = slots.insert("first");
        let second = slots.insert("second");
        assert!(!slots.has_room());
        assert_eq!(slots.remove(first), Some("first"));
        assert_eq!(slots.remove(first), None);
        let third = slots.insert("third");
        assert_eq!(third.slot, first.slot);
        assert!(slots.get_mut(first).is_none());
        assert_eq!(slots.get_mut(third), Some(&mut "third"));
        assert_eq!(slots.remove(second), Some("second"));
        assert_eq!(slots.len(), 1);
        assert_eq!(Key::from_bits(third.to_bits()), third);
    }
}
