//! What clients saw, and whether one order of their requests explains it.

use std::collections::BTreeMap;

use crate::media::{GROUPS, Value};

/// Never.
const END: u64 = u64::MAX;

/// A write or a read of one group by a client.
#[derive(Clone, Debug)]
pub struct Op {
    pub group: usize,
    pub value: Value,
    pub is_read: bool,
    pub invoked: u64,
    /// `None` when nothing is known of its end.
    pub returned: Option<u64>,
    /// The cache generation it belongs to: when that is raised, clients begin anew.
    pub generation: u64,
    /// What the group held when the generation began.
    pub initial: bool,
}

/// Every value is written once, so the operations of a value form one zone of time; an order exists if no two zones
/// exclude each other (Gibbons and Korach, 1997).
pub fn check(ops: &[Op]) -> Result<(), String> {
    let mut parts: BTreeMap<(u64, usize), Vec<Op>> = BTreeMap::new();
    for op in ops {
        parts.entry((op.generation, op.group)).or_default().push(op.clone());
    }
    for ((generation, group), mut ops) in parts {
        if generation == 0 && !ops.iter().any(|op| op.initial) {
            ops.push(Op { group, value: 0, is_read: false, invoked: 0, returned: Some(0), generation, initial: true });
        }
        check_group(&ops).map_err(|wrong| format!("generation {generation}, group {group} of {GROUPS}: {wrong}"))?;
    }
    Ok(())
}

fn check_group(ops: &[Op]) -> Result<(), String> {
    let mut values: BTreeMap<Value, Vec<&Op>> = BTreeMap::new();
    ops.iter().for_each(|op| values.entry(op.value).or_default().push(op));
    let mut forward = Vec::new();
    let mut backward = Vec::new();
    for (value, ops) in values {
        let write = ops.iter().find(|op| !op.is_read);
        let Some(write) = write else {
            return Err(format!("linearizability: value {value} was read and not written in this generation"));
        };
        let mut reads = ops.iter().filter(|op| op.is_read).peekable();
        if write.returned.is_none() && reads.peek().is_none() {
            continue;
        }
        let mut first_end = write.returned.unwrap_or(END);
        let mut last_begin = write.invoked;
        for read in reads {
            let returned = read.returned.unwrap_or(END);
            if returned < write.invoked {
                return Err(format!("linearizability: value {value} was read before it was written"));
            }
            first_end = first_end.min(returned);
            last_begin = last_begin.max(read.invoked);
        }
        if first_end < last_begin {
            forward.push((first_end, last_begin, value));
        } else {
            backward.push((last_begin, first_end, value));
        }
    }
    forward.sort_unstable();
    for pair in forward.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(format!("linearizability: values {} and {} exclude each other", pair[0].2, pair[1].2));
        }
    }
    for (begin, end, value) in backward {
        if let Some(around) = forward.iter().find(|zone| zone.0 < begin && end < zone.1) {
            return Err(format!("linearizability: value {value} lies inside the time of value {}", around.2));
        }
    }
    Ok(())
}
