//! Sets of groups as bytes: runs of words, so that "everything" and "next to nothing" are both short.
//!
//! A run is its first word's index and how many words it has. A *full* run is two or more words with every bit set, and
//! ends there; any other is followed by its words, none of which is 0. Runs ascend and are as long as they can be, so
//! that a set is written in one way only.

use std::iter::Peekable;

use block::Checksum;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::groups::GroupSet;
use crate::wire::fault::Fault;
use crate::wire::limits::WORDS_MAX;

/// On a run's count: its words are full, and do not follow.
const FULL_RUN: u32 = 1 << 31;
const FULL: u64 = u64::MAX;

const _: () = assert!(size_of::<RawRun>() == 8);
const _: () = assert!(WORDS_MAX < FULL_RUN, "a count leaves room for the mark");

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawRun {
    first: U32,
    count: U32,
}

/// A run of words that is being written.
#[derive(Clone, Copy)]
struct Open {
    at: usize,
    first: u64,
    count: u64,
}

/// Appends the set, and answers its checksum.
pub(crate) fn encode(set: &GroupSet, out: &mut Vec<u8>) -> Checksum {
    let start = out.len();
    let mut words = set.words().peekable();
    let mut open: Option<Open> = None;
    while let Some((index, bits)) = words.next() {
        let full = if bits == FULL { 1 + take_full(&mut words, index + 1) } else { 0 };
        if full >= 2 {
            close(open.take().as_ref(), out);
            out.extend_from_slice(head(index, full, FULL_RUN).as_bytes());
            continue;
        }
        let run = match open.take() {
            Some(run) if run.first + run.count == index => run,
            ended => {
                close(ended.as_ref(), out);
                out.extend_from_slice(head(index, 0, 0).as_bytes());
                Open { at: out.len() - size_of::<RawRun>(), first: index, count: 0 }
            }
        };
        out.extend_from_slice(&bits.to_le_bytes());
        open = Some(Open { count: run.count + 1, ..run });
    }
    close(open.as_ref(), out);
    Checksum::of(&out[start..])
}

/// Takes full words from `index` on; answers how many there were.
fn take_full(words: &mut Peekable<impl Iterator<Item = (u64, u64)>>, index: u64) -> u64 {
    (index..).take_while(|next| words.next_if_eq(&(*next, FULL)).is_some()).count() as u64
}

fn close(run: Option<&Open>, out: &mut [u8]) {
    if let Some(Open { at, first, count }) = run.copied() {
        out[at..at + size_of::<RawRun>()].copy_from_slice(head(first, count, 0).as_bytes());
    }
}

fn head(first: u64, count: u64, mark: u32) -> RawRun {
    let number = |value: u64| u32::try_from(value).expect("a volume has fewer words");
    RawRun { first: number(first).into(), count: (number(count) | mark).into() }
}

/// How far the bytes of a set were read.
#[derive(Default)]
struct Reading {
    set: GroupSet,
    /// Words begin here at the earliest.
    next: u64,
    /// The last run that was followed by its words ended here.
    listed_until: Option<u64>,
    /// The last full word was before this one.
    full_until: Option<u64>,
}

/// The set, if it is written in the one way there is.
pub(crate) fn parse(bytes: &[u8]) -> Result<GroupSet, Fault> {
    let mut reading = Reading::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let fault = Fault::Groups { at: bytes.len() - rest.len() };
        rest = reading.run(rest).ok_or(fault)?;
    }
    Ok(reading.set)
}

impl Reading {
    /// Takes one run; `None` when it is not one.
    fn run<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (run, rest) = RawRun::ref_from_prefix(bytes).ok()?;
        let (first, count) = (u64::from(run.first.get()), u64::from(run.count.get() & !FULL_RUN));
        let end = first + count;
        if first < self.next || end > u64::from(WORDS_MAX) {
            return None;
        }
        self.next = end;
        if run.count.get() & FULL_RUN != 0 {
            self.full(first, count)?;
            return Some(rest);
        }
        let (words, rest) = <[U64]>::ref_from_prefix_with_elems(rest, usize::try_from(count).ok()?).ok()?;
        if count == 0 || self.listed_until == Some(first) {
            return None;
        }
        self.listed_until = Some(end);
        for (index, bits) in (first..).zip(words) {
            self.word(index, bits.get())?;
        }
        Some(rest)
    }

    fn full(&mut self, first: u64, count: u64) -> Option<()> {
        if count < 2 || self.full_until == Some(first) {
            return None;
        }
        self.full_until = Some(first + count);
        (first..first + count).for_each(|index| self.set.insert_word(index, FULL));
        Some(())
    }

    fn word(&mut self, index: u64, bits: u64) -> Option<()> {
        // Next to another one it would have been part of a full run.
        if bits == 0 || (bits == FULL && self.full_until == Some(index)) {
            return None;
        }
        if bits == FULL {
            self.full_until = Some(index + 1);
        }
        self.set.insert_word(index, bits);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use block::GroupIndex;

    use super::{FULL, encode, parse};
    use crate::groups::GroupSet;

    fn bytes_of(set: &GroupSet) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(set, &mut bytes);
        bytes
    }

    #[test]
    fn everything_and_nothing_are_short() {
        assert!(bytes_of(&GroupSet::default()).is_empty());
        let everything: GroupSet = (0..64_000).map(GroupIndex).collect();
        assert_eq!(bytes_of(&everything), b"\0\0\0\0\xe8\x03\0\x80");
        assert_eq!(parse(&bytes_of(&everything)), Ok(everything));
    }

    #[test]
    fn every_mixture_of_words_is_read_as_it_was_written_and_takes_no_more_than_its_words() {
        // Every sequence of 8 words that are missing, full, or neither.
        for number in 0..3_u64.pow(8) {
            let mut set = GroupSet::default();
            for at in 0..8 {
                match number / 3_u64.pow(at) % 3 {
                    0 => {}
                    1 => set.insert_word(u64::from(at), FULL),
                    _ => set.insert_word(u64::from(at), 5 << at),
                }
            }
            let bytes = bytes_of(&set);
            assert!(bytes.len() <= 8 * 8 + 16, "{number}");
            assert_eq!(parse(&bytes), Ok(set), "{number}");
        }
    }

    #[test]
    fn a_set_that_is_written_in_another_way_is_refused() {
        let run = |first: u32, count: u32| [first.to_le_bytes(), count.to_le_bytes()].concat();
        let full = |first: u32, count: u32| run(first, count | 1 << 31);
        let word = |bits: u64| bits.to_le_bytes().to_vec();
        let refused = [
            ("a piece of a head", vec![0; 7]),
            ("no words", run(3, 0)),
            ("missing words", run(3, 2)),
            ("an empty word", [run(3, 1), word(0)].concat()),
            ("one full word", full(3, 1)),
            ("two runs for one", [full(0, 2), full(2, 2)].concat()),
            ("two lists for one", [run(0, 1), word(1), run(1, 1), word(1)].concat()),
            ("full words in a list", [run(0, 2), word(FULL), word(FULL)].concat()),
            ("a full word behind a full run", [full(0, 2), run(2, 1), word(FULL)].concat()),
            ("a full word before a full run", [run(0, 1), word(FULL), full(1, 2)].concat()),
            ("one step back", [full(4, 2), run(5, 1), word(1)].concat()),
            ("past the largest volume", full((1 << 22) - 1, 2)),
            ("past every number", full(u32::MAX, u32::MAX >> 1)),
        ];
        for (what, bytes) in refused {
            assert!(parse(&bytes).is_err(), "{what}");
        }
        assert!(parse(&[full(0, 2), run(2, 2), word(1), word(FULL), run(9, 1), word(FULL)].concat()).is_ok());
    }
}
