//! What a person at a terminal, or a reader of a CI log, sees of a run: progress, failures, live output, the summary.
//!
//! [`Progress`] folds acknowledged events and draws them. On a terminal there is a bar of what runs now; elsewhere there
//! are plain lines. Everything that is drawn is rendered by pure functions in the modules below.

mod bar;
mod failure;
mod lines;
mod live;
mod sink;
mod style;
mod summary;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use testledger_schemas::event::{ExecutionKind, OutputStream};
use testledger_schemas::{Event, ExecutionId, Timestamp};

pub use summary::Closing;

use super::model::RunReport;
use crate::steps::context::LiveOutput;
use bar::Bar;
use live::Prefixer;
use sink::Sink;

/// How a run is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// A wrapped command: its output passes through unchanged, and the summary is short.
    Wrapped,
    /// One line for each case that ends.
    Lines,
    /// The same lines, above a bar of what runs now.
    Bar {
        /// How often the bar is drawn anew.
        interval: Duration,
    },
}

impl View {
    /// How a run of a plan is shown here: with a bar where standard error is a terminal that can draw one.
    #[must_use]
    pub fn of_a_plan(interval: Duration) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
        if io::stderr().is_terminal() && !is_dumb && !is_ci { Self::Bar { interval } } else { Self::Lines }
    }
}

/// Draws a run while it goes on.
pub struct Progress {
    view: View,
    /// Whether live output of every step is shown.
    shows_output: bool,
    report: RunReport,
    sink: Sink,
    bar: Bar,
    prefixer: Prefixer,
}

impl Progress {
    /// Progress on this process's standard output and standard error. Colours where standard output shows them
    /// (`NO_COLOR`, `CLICOLOR_FORCE` and a missing terminal are heeded). With `no_capture`, the live output of every step
    /// is shown, each line led by the label of its case.
    #[must_use]
    pub fn new(view: View, no_capture: bool) -> Self {
        let is_coloured = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        Self::on(view, no_capture, is_coloured, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Progress on these two.
    #[must_use]
    pub fn on(
        view: View,
        no_capture: bool,
        is_coloured: bool,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        let interval = match view {
            View::Bar { interval } => Some(interval),
            View::Wrapped | View::Lines => None,
        };
        Self {
            view,
            shows_output: no_capture,
            report: RunReport::default(),
            sink: Sink::new(is_coloured, out, err),
            bar: Bar::new(interval),
            prefixer: Prefixer::default(),
        }
    }

    /// What has been seen so far: the same fold that JUnit XML is written from.
    #[must_use]
    pub fn report(&self) -> &RunReport {
        &self.report
    }

    /// Replaces what has been seen so far: the terminal was too slow to see everything.
    pub fn set_report(&mut self, report: RunReport) {
        self.report = report;
    }

    /// Takes an acknowledged event whose time is of no interest.
    pub fn event(&mut self, execution: ExecutionId, event: &Event) {
        self.event_at(execution, Timestamp::default(), event);
    }

    /// Takes an acknowledged event with the time of its record. The events of one execution come in their order.
    pub fn event_at(&mut self, execution: ExecutionId, recorded_at: Timestamp, event: &Event) {
        self.report.apply(execution, recorded_at, event);
        match self.view {
            View::Wrapped => {}
            View::Lines | View::Bar { .. } => self.draw(execution, event),
        }
    }

    fn draw(&mut self, execution: ExecutionId, event: &Event) {
        let Some(report) = self.report.execution(execution) else { return };
        if let Event::StepFinished(finished) = event {
            let rest = self.prefixer.finish(execution, &finished.run.step, &report.label);
            self.bar.above(|| self.sink.out(&rest));
        }
        let lines = lines::of_event(report, event);
        if !lines.is_empty() {
            self.bar.above(|| self.sink.out(&lines));
        }
        if report.kind == ExecutionKind::Case {
            self.bar.case(report);
        } else {
            self.bar.suite(report);
        }
    }

    /// Takes a piece of live output.
    pub fn live(&mut self, output: &LiveOutput) {
        match self.view {
            View::Wrapped => match output.stream {
                OutputStream::Stdout | OutputStream::Body => self.sink.out_raw(&output.bytes),
                OutputStream::Stderr => self.sink.err_raw(&output.bytes),
            },
            View::Lines | View::Bar { .. } if self.shows_output => {
                let label = self.report.execution(output.execution).map_or("", |report| &report.label);
                let lines = self.prefixer.push(output, label);
                self.bar.above(|| self.sink.out(&lines));
            }
            View::Lines | View::Bar { .. } => {}
        }
    }

    /// Says something between the lines (a warning, a note), on standard error.
    pub fn note(&mut self, text: &str) {
        let line = format!("{text}\n");
        self.bar.above(|| self.sink.err(&line));
    }

    /// Takes the bar away and writes the summary: to standard output, or for a wrapped command to standard error.
    ///
    /// # Errors
    /// The first error of writing that there was in the whole run (a closed pipe).
    pub fn finish(&mut self, closing: &Closing) -> io::Result<()> {
        self.bar.clear();
        match self.view {
            View::Wrapped => self.sink.err(&summary::short(&self.report, closing)),
            View::Lines | View::Bar { .. } => self.sink.out(&summary::full(&self.report, closing)),
        }
        self.sink.finish()
    }
}
