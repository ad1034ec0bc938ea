//! What goes to standard output: tables without lines, columns two spaces apart; and a reader that has seen enough is
//! no error.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};

/// An empty table.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// A table's lines, which end where their text does.
pub fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
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
    use super::{lines, table};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = table();
        table.set_header(["NAME", "SIZE"]);
        table.add_row(["a long name", "1"]);
        table.add_row(["b", ""]);
        assert_eq!(lines(table), "NAME         SIZE\na long name  1\nb\n");
    }
}
