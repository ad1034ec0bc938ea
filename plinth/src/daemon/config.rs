//! Config files: TOML, with the long options as fields. What is not known is refused, so that a slip of the pen is
//! noticed before it matters.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use crate::exit::Usage;

/// What a file says; nothing when there is none.
pub fn read<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the config file {}; name another one with --config", path.display()))?;
    Ok(parse(&text).map_err(|why| Usage(format!("{}, {why}", path.display())))?)
}

/// What a text says.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count() + 1, error.message().trim_end())
    })
}

/// The values of the command line, or those of the file when there are none.
pub fn either<T>(given: Vec<T>, in_file: Vec<T>) -> Vec<T> {
    if given.is_empty() { in_file } else { given }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{either, parse, read};
    use crate::args::{ControlArgs, StorageArgs};

    #[test]
    fn the_sample_files_are_understood() {
        let control: ControlArgs = parse(include_str!("../../../deploy/systemd/control.toml")).unwrap();
        assert!(control.bootstrap && control.others.len() == 2 && control.http.is_some());
        let storage: StorageArgs = parse(include_str!("../../../deploy/systemd/storage.toml")).unwrap();
        assert_eq!(storage.control.len(), 3);
    }

    #[test]
    fn every_option_is_a_field() {
        let control: ControlArgs = parse(
            "id = 2\ndata = '/var/lib/plinth'\nlisten = '127.0.0.1:10700'\nadvertise = 'c2'\nbootstrap = false\njoin = true\nothers = ['c1:1']\n",
        )
        .unwrap();
        assert_eq!((control.id, control.join, control.bootstrap), (Some(2), true, false));
        assert_eq!(control.listen, Some(([127, 0, 0, 1], 10700).into()));
        let storage: StorageArgs = parse(
            "id = 'n1'\ncontrol = ['c1:10700', 'c2:10700']\npool = '/srv/pool:1GiB'\nlabel = ['zone=a']\n\
             tag = ['ssd']\nlisten = '127.0.0.1:1'\nnbd = ['127.0.0.1:2', '127.0.0.1:3']\nunix = '/run/p.sock'\n\
             http = '127.0.0.1:4'\nopen_network = ['10.0.0.0/8']\nadvertise = 'n1'\nwait = 5\n",
        )
        .unwrap();
        assert_eq!(storage.control, ["c1:10700", "c2:10700"]);
        assert_eq!(storage.pool.and_then(|pool| pool.size_bytes), Some(1 << 30));
        assert_eq!((storage.nbd.len(), storage.label[0].key.as_str(), storage.tag.len()), (2, "zone", 1));
        assert_eq!((storage.wait, storage.open_network.len()), (Some(Duration::from_secs(5)), 1));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_name_and_line() {
        let error = parse::<ControlArgs>("id = 1\n\nlisen = '127.0.0.1:1'\n").unwrap_err();
        assert!(error.starts_with("line 3: unknown field `lisen`"), "{error}");
        assert!(error.contains("`listen`"), "{error}");
        // Naming another file in a file leads nowhere.
        assert!(parse::<ControlArgs>("config = 'x'\n").is_err());
    }

    #[test]
    fn a_value_that_is_none_is_refused_with_an_example() {
        let rows = [
            ("control = ['c1']\n", "HOST:PORT"),
            ("pool = 'p:10Zorb'\n", "is no size"),
            ("label = ['zone']\n", "KEY=VALUE"),
            ("open_network = ['x']\n", "line 1: "),
            ("id = 7\n", "line 1: "),
        ];
        for (text, words) in rows {
            let error = parse::<StorageArgs>(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_daemon_has_few_fields() {
        let fields = |error: String| error.matches('`').count() / 2 - 1;
        for error in [parse::<ControlArgs>("x = 1").unwrap_err(), parse::<StorageArgs>("x = 1").unwrap_err()] {
            assert!((1..=25).contains(&fields(error)));
        }
    }

    #[test]
    fn without_a_file_nothing_is_said() {
        assert_eq!(read::<StorageArgs>(None).unwrap(), StorageArgs::default());
        let error = read::<StorageArgs>(Some("/nowhere/at.all".as_ref())).unwrap_err();
        assert!(error.to_string().contains("cannot read the config file /nowhere/at.all"), "{error}");
    }

    #[test]
    fn the_command_line_wins() {
        assert_eq!(either(vec![1], vec![2, 3]), [1]);
        assert_eq!(either(vec![], vec![2, 3]), [2, 3]);
    }
}
