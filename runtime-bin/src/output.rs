//! Standard output.

use std::io::{ErrorKind, Write, stdout};

use crate::Failure;

/// Writes to stdout. A reader that has gone away is no error: it has what it wanted.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes()).map(|_| ())
}

/// Writes to stdout, and returns whether there is still a reader.
pub(crate) fn write(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("write to stdout: {error}"))),
    }
}

/// Writes JSON with an indent, as the Go programs do that engines know.
pub(crate) fn json(document: &serde_json::Value, indent: &[u8]) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("JSON: {error}"));
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(document, &mut serializer).map_err(|error| failed(&error))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(|error| failed(&error))
}

/// Lays out a table as Go's tabwriter does for runc: cells at least 12 wide, with 3 spaces after them; the
/// last column as it is.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let longest =
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        (longest + 3).max(12)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if index + 1 == row.len() {
                text.push_str(cell);
            } else {
                text.push_str(&format!("{cell:<width$}"));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_at_least_twelve_wide() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["ID", "PID", "OWNER"]), row(["a-long-container", "7", "root"])]);
        assert_eq!(text, "ID                 PID         OWNER\na-long-container   7           root\n");
    }
}
