//! Where the lines go: two writers, colours taken out where they are not wanted, the first error kept.

use std::io::{self, Write};

use anstream::adapter::strip_str;

pub(super) struct Sink {
    is_coloured: bool,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    first_error: Option<io::Error>,
}

impl Sink {
    pub(super) fn new(is_coloured: bool, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { is_coloured, out, err, first_error: None }
    }

    /// Rendered text to standard output.
    pub(super) fn out(&mut self, text: &str) {
        let text = self.wanted(text);
        self.out_raw(text.as_bytes());
    }

    /// Rendered text to standard error.
    pub(super) fn err(&mut self, text: &str) {
        let text = self.wanted(text);
        self.err_raw(text.as_bytes());
    }

    /// These bytes, unchanged, to standard output.
    pub(super) fn out_raw(&mut self, bytes: &[u8]) {
        let written = write_all(&mut self.out, bytes);
        self.keep(written);
    }

    /// These bytes, unchanged, to standard error.
    pub(super) fn err_raw(&mut self, bytes: &[u8]) {
        let written = write_all(&mut self.err, bytes);
        self.keep(written);
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.first_error.take().map_or(Ok(()), Err)
    }

    fn wanted(&self, text: &str) -> String {
        if self.is_coloured { text.to_owned() } else { strip_str(text).to_string() }
    }

    fn keep(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.first_error.get_or_insert(error);
        }
    }
}

fn write_all(to: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    to.write_all(bytes)?;
    to.flush()
}
