//! What goes to standard output. A reader that has seen enough is no error.

mod moment;
pub mod size;
pub mod table;
pub mod uri;

use std::io::{self, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

pub use moment::Moment;

/// How a person or a program wants to see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// Text for people
    Table,
    /// Text with more columns
    Wide,
    /// One JSON document; sizes are bytes, times milliseconds since 1970
    Json,
    /// One YAML document, with the same fields
    Yaml,
}

/// How much of a thing a table tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// What fits an ordinary terminal.
    Usual,
    /// All.
    Wide,
}

/// Prints a value: for programs as it is, for people by `text`.
///
/// # Errors
/// Standard output cannot be written.
pub fn show<T: Serialize>(format: Format, value: &T, text: impl FnOnce(Detail) -> String) -> Result<()> {
    print(&render(format, value, text)?)?;
    Ok(())
}

/// What [`show`] prints.
///
/// # Errors
/// Never for the values of this program.
pub fn render<T: Serialize>(format: Format, value: &T, text: impl FnOnce(Detail) -> String) -> Result<String> {
    Ok(match format {
        Format::Table => text(Detail::Usual),
        Format::Wide => text(Detail::Wide),
        Format::Json => serde_json::to_string_pretty(value)? + "\n",
        Format::Yaml => yaml_serde::to_string(value)?,
    })
}

/// Names and their values, one a line.
pub fn facts<const N: usize>(rows: [(&str, String); N]) -> String {
    let mut table = table::bare();
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table::lines(table)
}

/// Prints.
///
/// # Errors
/// Anything but that nobody reads.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::{Detail, Format, facts, render};

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        size_bytes: u64,
        parent: Option<u64>,
    }

    #[test]
    fn every_format_tells_the_same_thing() {
        let thing = Thing { name: "0123", size_bytes: 4096, parent: None };
        let text = |detail| format!("{detail:?}\n");
        let rendered = |format| render(format, &thing, text).unwrap();
        assert_eq!(rendered(Format::Table), "Usual\n");
        assert_eq!(rendered(Format::Wide), "Wide\n");
        let json = rendered(Format::Json);
        assert_eq!(json, "{\n  \"name\": \"0123\",\n  \"size_bytes\": 4096,\n  \"parent\": null\n}\n");
        let yaml: serde_json::Value = yaml_serde::from_str(&rendered(Format::Yaml)).unwrap();
        assert_eq!(yaml, serde_json::from_str::<serde_json::Value>(&json).unwrap());
    }

    #[test]
    fn facts_stand_below_each_other() {
        let text = facts([("name", "db".to_owned()), ("size of it", "1GiB".to_owned())]);
        assert_eq!(text, "name        db\nsize of it  1GiB\n");
        assert_eq!(Detail::Usual, Detail::Usual);
    }
}
