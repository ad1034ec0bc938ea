//! `plinth control recover`: the last voter becomes the only one.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use control_plane::{LastVoter, LastVoterFacts};

use super::with_option;
use crate::output::{self, Moment};

/// Without the operator's word it tells what the voter has, and what to type.
pub fn run(data: &Path, forget_voters: &[u64]) -> Result<ExitCode> {
    let voter = LastVoter::open(data).map_err(|error| with_option(&error, "--data DIR"))?;
    let facts = voter.facts();
    if forget_voters.is_empty() {
        output::print(&told(&facts, data))?;
        return Ok(ExitCode::SUCCESS);
    }
    let gone = forget_voters.iter().copied().collect();
    voter.take_over(&gone, Moment::now().0).map_err(|error| with_option(&error, "--forget-voters N,.."))?;
    let id = facts.voter;
    output::print(&format!(
        "voter {id} is the only one now. Start it as always; then plinth status, and when every storage node is heard:\n\
         plinth cluster resume\n\
         New voters join it under new numbers: plinth cluster add-voter\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn told(facts: &LastVoterFacts, data: &Path) -> String {
    let LastVoterFacts { voter, cluster, last_entry, last_term, last_at_ms, voters } = facts;
    let names = |all: Vec<String>| all.join(", ");
    let others: Vec<String> = voters.keys().filter(|id| *id != voter).map(ToString::to_string).collect();
    let heard = match last_at_ms {
        0 => String::from("not in its log any more"),
        at_ms => format!("{} ago", Moment(*at_ms).age(Moment::now())),
    };
    let table = output::facts([
        ("voter", voter.to_string()),
        ("cluster", cluster.clone()),
        ("last entry", format!("{last_entry} of term {last_term}")),
        ("last command", heard),
        ("voters", names(voters.iter().map(|(id, address)| format!("{id} at {address}")).collect())),
    ]);
    format!(
        "{table}\nNothing was changed. If all other voters and their disks are gone for good, and only then:\n\
         plinth control recover --data {} --forget-voters {}\n\
         What they decided after that last command is lost.\n",
        data.display(),
        others.join(",")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use control_plane::LastVoterFacts;

    use super::told;

    #[test]
    fn what_is_told_ends_with_what_to_type() {
        let facts = LastVoterFacts {
            voter: 2,
            cluster: String::from("c"),
            last_entry: 70,
            last_term: 3,
            last_at_ms: 0,
            voters: BTreeMap::from([1, 2, 3].map(|id| (id, format!("h{id}:1")))),
        };
        let text = told(&facts, Path::new("/d"));
        assert!(
            text.contains("70 of term 3") && text.contains("plinth control recover --data /d --forget-voters 1,3\n")
        );
    }
}
