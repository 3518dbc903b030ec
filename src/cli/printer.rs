//! The only place that prints: stdout is data, stderr is for people.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use super::CANNOT_RUN;

/// Where a command's output goes.
pub struct Printer {
    data: Box<dyn Write>,
    people: Box<dyn Write>,
}

impl Printer {
    /// stdout and stderr of the process.
    #[must_use]
    pub fn for_process() -> Self {
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Other places, for tests.
    #[must_use]
    pub fn new(data: Box<dyn Write>, people: Box<dyn Write>) -> Self {
        Self { data, people }
    }

    /// Writes a command's result.
    ///
    /// # Errors
    ///
    /// The output cannot be written. A reader that has seen enough (`| head`) is no error.
    pub fn data(&mut self, text: &str) -> io::Result<()> {
        match self.data.write_all(text.as_bytes()).and_then(|()| self.data.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Says that standard output does not take a command's result.
    pub fn cannot_write(&mut self, error: &io::Error) -> ExitCode {
        self.cannot_run(&format_args!("cannot write to standard output: {error}"))
    }

    /// A line for people. If nobody can read it there is nobody to tell.
    pub fn note(&mut self, line: impl Display) {
        let _ = writeln!(self.people, "{line}");
    }

    /// Says why the command cannot do its work.
    pub fn cannot_run(&mut self, why: &impl Display) -> ExitCode {
        self.note(format_args!("error: {why}"));
        ExitCode::from(CANNOT_RUN)
    }
}

/// Rows as kubectl aligns them: every column as wide as its widest cell, three blanks between two.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Text of others on one line: it must not break a table, nor send codes to the terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
