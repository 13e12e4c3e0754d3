//! What is wrong with a plan, where, and what would be right; for people and for pipes.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::tree::Place;

/// One thing that is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The field, such as `cases[0].steps[1].run`; empty for the file as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub mend: String,
}

/// Everything that is wrong with a plan, in the order of the text. Never empty.
#[derive(Clone, Debug)]
pub struct PlanErrors {
    /// The file as shown to people.
    pub file: String,
    /// Its text.
    text: String,
    /// The problems; at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// Whether there are more.
    pub has_more: bool,
}

/// So many problems are kept of one plan; that there are more is said.
pub const MAX_PROBLEMS: usize = 100;

impl PlanErrors {
    /// The problems of a text, sorted by place.
    #[must_use]
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.offset);
        problems.dedup();
        let has_more = problems.len() > MAX_PROBLEMS;
        problems.truncate(MAX_PROBLEMS);
        Self { file: file.to_owned(), text: text.to_owned(), problems, has_more }
    }

    /// All problems with the lines they stand in, drawn for a terminal so many columns wide.
    #[must_use]
    pub fn fancy(&self, width: usize, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(width).without_cause_chain();
        let mut out = String::new();
        for problem in &self.problems {
            let shown = Shown { problem, source: NamedSource::new(&self.file, self.text.clone()) };
            if handler.render_report(&mut out, &shown).is_err() {
                out.push_str(&self.line_of(problem));
            }
        }
        out.push_str(&self.rest());
        out
    }

    fn line_of(&self, problem: &Problem) -> String {
        let Problem { place, field, message, mend } = problem;
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        format!("{}:{}:{}: {field}{message}\n  mend: {mend}\n", self.file, place.line, place.column)
    }

    fn rest(&self) -> String {
        if self.has_more { "... and more problems of this kind or others\n".to_owned() } else { String::new() }
    }
}

impl fmt::Display for PlanErrors {
    /// Two lines for each problem: `file:line:column: field: message` and the mend.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            f.write_str(&self.line_of(problem))?;
        }
        f.write_str(&self.rest())
    }
}

impl std::error::Error for PlanErrors {}

/// A problem with the text it stands in.
#[derive(Debug)]
struct Shown<'a> {
    problem: &'a Problem,
    source: NamedSource<String>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.problem.mend))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Place { offset, length, .. } = self.problem.place;
        let label = (!self.problem.field.is_empty()).then(|| self.problem.field.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new(label, offset, length))))
    }
}

/// The name nearest to what was written, for "did you mean".
#[must_use]
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long texts are no typing errors, and the distance costs the product of the lengths.
    if written.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let near = |name: &&'a str| name.len() <= MAX_COMPARED_BYTES;
    names
        .into_iter()
        .filter(near)
        .filter_map(|name| Some((distance(written, name)?, name)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Names longer than this are not compared.
const MAX_COMPARED_BYTES: usize = 80;

/// How far a name is from what was written; none if too far for a typing error (a third of its letters).
fn distance(written: &str, name: &str) -> Option<usize> {
    let (written, name) = (written.to_lowercase(), name.to_lowercase());
    let (written, name) = match (written.rsplit_once('.'), name.rsplit_once('.')) {
        // `env.BSAE` is compared as `BSAE`, and `region` with the end of `params.region`.
        (Some((before, written)), Some((first, name))) if before == first => (written.to_owned(), name.to_owned()),
        (None, Some((_, name))) => (written, name.to_owned()),
        _ => (written, name),
    };
    let begins = name.len() >= 3 && written.len() >= 3 && (written.starts_with(&name) || name.starts_with(&written));
    let most = (name.len() / 3).max(1);
    if begins {
        return Some(usize::from(written != name));
    }
    if written.len().abs_diff(name.len()) > 4 * most {
        return None;
    }
    Some(strsim::osa_distance(&written, &name)).filter(|distance| *distance <= most)
}

/// `did you mean X?`, or else the names there are.
#[must_use]
pub fn suggestion(written: &str, names: &[&str]) -> String {
    match nearest(written, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "there is nothing that could be named here".to_owned(),
        None => {
            let shown: Vec<_> = names.iter().take(MAX_NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
            let more = if names.len() > MAX_NAMES_SHOWN { ", ..." } else { "" };
            format!("use one of {}{more}", shown.join(", "))
        }
    }
}

/// So many names are listed in a mend.
const MAX_NAMES_SHOWN: usize = 20;

/// A text of the plan as a message shows it: one line, not too long, and nothing that a terminal would obey.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = visible(&text.chars().take(MAX_SHOWN_CHARS).collect::<String>());
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

/// So many characters of a text are shown in a message.
const MAX_SHOWN_CHARS: usize = 60;

/// The text with every control character written as its escape.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { visible.extend(c.escape_default()) } else { visible.push(c) }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(shown("a\n\u{1b}[31m'é\""), "a\\n\\u{1b}[31m'é\"");
        assert_eq!(shown(&"x".repeat(61)).len(), 63);
    }

    #[test]
    fn suggestions_are_near_or_a_list() {
        for (written, names, wanted) in [
            ("suit", vec!["suite", "name"], "did you mean `suite`?"),
            ("attempts", vec!["max_attempts", "factor"], "did you mean `max_attempts`?"),
            ("exit_code", vec!["exit", "json"], "did you mean `exit`?"),
            ("region", vec!["params.region", "case"], "did you mean `params.region`?"),
            ("env.HOME", vec!["env.BASE"], "use one of `env.BASE`"),
            ("x", vec![], "there is nothing that could be named here"),
        ] {
            assert_eq!(suggestion(written, &names), wanted);
        }
    }
}
