//! The one table that says which outcome a reported test case has.

use testledger_schemas::StepOutcome::{self, Error, Failed, Passed, Skipped, Timeout};

use super::raw::{RawCase, RawVerdict};

/// A child element of a test case that says how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Element {
    /// `<error>`: the test, its set-up or its clean-up could not be carried out.
    Error,
    /// `<failure>`: an assertion did not hold.
    Failure,
    /// `<rerunError>`: an error of a further try (Surefire, nextest).
    RerunError,
    /// `<rerunFailure>`: a failure of a further try.
    RerunFailure,
    /// `<flakyError>`: an error of an earlier try.
    FlakyError,
    /// `<flakyFailure>`: a failure of an earlier try.
    FlakyFailure,
    /// `<skipped>`.
    Skipped,
    /// `<disabled>`, `<ignored>`.
    Disabled,
    /// `<warning>` (PHPUnit).
    Warning,
}

impl Element {
    /// The element of this name, if it says how a test case ended.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"error" => Self::Error,
            b"failure" => Self::Failure,
            b"rerunError" => Self::RerunError,
            b"rerunFailure" => Self::RerunFailure,
            b"flakyError" => Self::FlakyError,
            b"flakyFailure" => Self::FlakyFailure,
            b"skipped" => Self::Skipped,
            b"disabled" | b"ignored" => Self::Disabled,
            b"warning" => Self::Warning,
            _ => return None,
        })
    }
}

/// What a row of the table looks for.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// The case has this element.
    Has(Element),
    /// It has this element with this `type`.
    Type(Element, &'static str),
    /// It has this element, and its message begins so.
    Says(Element, &'static str),
    /// It has both elements.
    Both(Element, Element),
    /// Its attribute `status` is this.
    Status(&'static str),
    /// It has this element, and its attribute `status` is this.
    StatusOf(Element, &'static str),
}

/// **The table.** The first row that fits decides; where none fits, the case PASSED.
///
/// What JUnit XML cannot tell: an expected failure that passed (xpass, not strict) is written by pytest as a plain pass
/// and is PASSED here. A test whose body passed and whose clean-up failed is one test case with an `<error>`: ERROR.
#[rustfmt::skip]
const TABLE: &[(Sign, StepOutcome, Option<&str>)] = &[
    // A node test marked `todo` may fail: node itself counts it as to do and passes.
    (Sign::Type(Element::Skipped, "todo"),                          Skipped, Some("todo")),
    // pytest names the phase of an error in its message; before 3.9 in other words.
    (Sign::Says(Element::Error, "failed on teardown"),              Error,   Some("teardown error")),
    (Sign::Says(Element::Error, "test teardown failure"),           Error,   Some("teardown error")),
    (Sign::Says(Element::Error, "failed on setup"),                 Error,   Some("setup error")),
    (Sign::Says(Element::Error, "test setup failure"),              Error,   Some("setup error")),
    (Sign::Says(Element::Error, "collection failure"),              Error,   Some("collection error")),
    // unittest-xml-reporting writes an unexpected success as an error.
    (Sign::Type(Element::Error, "UnexpectedSuccess"),               Failed,  Some("xpass")),
    (Sign::Both(Element::Error, Element::RerunError),               Error,   Some("rerun")),
    (Sign::Both(Element::Error, Element::RerunFailure),             Error,   Some("rerun")),
    (Sign::Has(Element::Error),                                     Error,   None),
    // cargo-nextest ends a test that takes too long, and writes it as a failure of this type.
    (Sign::Type(Element::Failure, "test timeout"),                  Timeout, None),
    (Sign::Says(Element::Failure, "[XPASS(strict)]"),               Failed,  Some("xpass")),
    (Sign::Both(Element::Failure, Element::RerunFailure),           Failed,  Some("rerun")),
    (Sign::Both(Element::Failure, Element::RerunError),             Failed,  Some("rerun")),
    // nextest with `flaky-result = "fail"`: it passed in the end, and that is not good enough.
    (Sign::Both(Element::Failure, Element::FlakyFailure),           Failed,  Some("flaky")),
    (Sign::Both(Element::Failure, Element::FlakyError),             Failed,  Some("flaky")),
    (Sign::Has(Element::Failure),                                   Failed,  None),
    (Sign::Has(Element::RerunError),                                Error,   Some("rerun")),
    (Sign::Has(Element::RerunFailure),                              Failed,  Some("rerun")),
    (Sign::Type(Element::Skipped, "pytest.xfail"),                  Skipped, Some("xfail")),
    (Sign::Type(Element::Skipped, "XFAIL"),                         Skipped, Some("xfail")),
    (Sign::Says(Element::Skipped, "expected test failure"),         Skipped, Some("xfail")),
    (Sign::Says(Element::Skipped, "xfail-marked test passes"),      Skipped, Some("xpass")),
    // CTest writes these beside the reason; GoogleTest without any child.
    (Sign::StatusOf(Element::Skipped, "disabled"),                  Skipped, Some("disabled")),
    (Sign::StatusOf(Element::Skipped, "notrun"),                    Skipped, Some("notrun")),
    (Sign::Has(Element::Skipped),                                   Skipped, None),
    (Sign::Has(Element::FlakyFailure),                              Passed,  Some("flaky")),
    (Sign::Has(Element::FlakyError),                                Passed,  Some("flaky")),
    (Sign::Has(Element::Disabled),                                  Skipped, Some("disabled")),
    (Sign::Status("disabled"),                                      Skipped, Some("disabled")),
    (Sign::Status("notrun"),                                        Skipped, Some("notrun")),
    (Sign::Status("skipped"),                                       Skipped, None),
    (Sign::Status("ignored"),                                       Skipped, None),
    (Sign::Status("error"),                                         Error,   None),
    (Sign::Status("fail"),                                          Failed,  None),
    (Sign::Status("failed"),                                        Failed,  None),
    (Sign::Has(Element::Warning),                                   Passed,  Some("warning")),
];

/// How a case ended, and the child element that says so.
pub(super) struct Judged<'a> {
    pub(super) outcome: StepOutcome,
    pub(super) detail: Option<&'static str>,
    pub(super) verdict: Option<&'a RawVerdict>,
}

/// The outcome of a case by the table.
pub(super) fn judge(case: &RawCase) -> Judged<'_> {
    for (sign, outcome, detail) in TABLE {
        if let Some(verdict) = sign.fits(case) {
            return Judged { outcome: *outcome, detail: *detail, verdict };
        }
    }
    Judged { outcome: Passed, detail: None, verdict: None }
}

impl Sign {
    /// Whether the case shows this sign; and the element that shows it, if it is one.
    fn fits<'a>(&self, case: &'a RawCase) -> Option<Option<&'a RawVerdict>> {
        let has_status = |status: &str| case.status.eq_ignore_ascii_case(status);
        let find = |element: Element| case.verdicts.iter().find(|verdict| verdict.element == element);
        match *self {
            Self::Has(element) => find(element).map(Some),
            Self::Type(element, kind) => {
                case.verdicts.iter().find(|verdict| verdict.element == element && verdict.kind == kind).map(Some)
            }
            Self::Says(element, start) => {
                case.verdicts.iter().find(|verdict| verdict.element == element && verdict.says(start)).map(Some)
            }
            Self::Both(element, other) => find(other).and(find(element)).map(Some),
            Self::Status(status) => has_status(status).then_some(None),
            Self::StatusOf(element, status) => find(element).filter(|_| has_status(status)).map(Some),
        }
    }
}
