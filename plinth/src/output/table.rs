//! Tables without lines, columns two spaces apart.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::Detail;

/// A table without a header.
pub fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// An empty table.
pub fn new(header: &[&str]) -> Table {
    let mut table = bare();
    table.set_header(header);
    table
}

/// An empty table that has more columns when more is wanted.
pub fn of(usual: &[&str], more: &[&str], detail: Detail) -> Table {
    match detail {
        Detail::Usual => new(usual),
        Detail::Wide => new(&[usual, more].concat()),
    }
}

/// Adds a row, with the further columns when they are wanted.
pub fn row(table: &mut Table, usual: Vec<String>, more: Vec<String>, detail: Detail) {
    match detail {
        Detail::Usual => table.add_row(usual),
        Detail::Wide => table.add_row([usual, more].concat()),
    };
}

/// Numbers stand below each other.
pub fn align_right(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A table's lines, which end where their text does.
pub fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::{lines, new};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = new(&["NAME", "SIZE"]);
        table.add_row(["a long name", "1"]);
        table.add_row(["b", ""]);
        assert_eq!(lines(table), "NAME         SIZE\na long name  1\nb\n");
    }
}
