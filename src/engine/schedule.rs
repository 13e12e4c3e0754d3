//! In which order the cases of a suite run: those that are most urgent first, none before what it needs. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use testledger_schemas::plan::{Case, Priority};

/// What stands between a suite's cases and their start. Cases are named by their place in the plan.
pub struct Schedule {
    priorities: Vec<Priority>,
    /// How many of what each case needs has not passed yet.
    missing: Vec<usize>,
    /// The cases that need each case.
    dependents: Vec<Vec<usize>>,
    ready: BTreeSet<(Reverse<Priority>, usize)>,
    waiting: BTreeSet<usize>,
}

impl Schedule {
    /// The schedule of these cases. A need names every matrix cell of the case with that id.
    #[must_use]
    pub fn new(cases: &[Case]) -> Self {
        let mut by_id: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, case) in cases.iter().enumerate() {
            by_id.entry(&case.id).or_default().push(index);
        }
        let mut dependents = vec![vec![]; cases.len()];
        let mut missing = vec![0; cases.len()];
        for (index, case) in cases.iter().enumerate() {
            for &needed in case.needs.iter().filter_map(|id| by_id.get(id.as_str())).flatten() {
                dependents[needed].push(index);
                missing[index] += 1;
            }
        }
        let priorities = cases.iter().map(|case| case.priority).collect();
        let mut schedule =
            Self { priorities, missing, dependents, ready: BTreeSet::new(), waiting: (0..cases.len()).collect() };
        for index in 0..cases.len() {
            if schedule.missing[index] == 0 {
                schedule.make_ready(index);
            }
        }
        schedule
    }

    /// A case may start (again).
    pub fn make_ready(&mut self, case: usize) {
        self.waiting.remove(&case);
        self.ready.insert((Reverse(self.priorities[case]), case));
    }

    /// A case has begun, whoever began it: it is not handed out any more.
    pub fn begun(&mut self, case: usize) {
        self.waiting.remove(&case);
        self.ready.remove(&(Reverse(self.priorities[case]), case));
    }

    /// The most urgent case that may start; of equals, the first in the plan.
    pub fn take_next(&mut self) -> Option<usize> {
        self.ready.pop_first().map(|(_, case)| case)
    }

    /// A case has passed: what needed nothing else may start.
    pub fn passed(&mut self, case: usize) {
        for dependent in std::mem::take(&mut self.dependents[case]) {
            self.missing[dependent] -= 1;
            if self.missing[dependent] == 0 && self.waiting.contains(&dependent) {
                self.make_ready(dependent);
            }
        }
    }

    /// A case has ended without passing: what needs it, directly or not, can never start. Returns those.
    pub fn not_passed(&mut self, case: usize) -> Vec<usize> {
        let mut blocked = vec![];
        let mut open = std::mem::take(&mut self.dependents[case]);
        while let Some(dependent) = open.pop() {
            if self.waiting.remove(&dependent) {
                blocked.push(dependent);
                open.append(&mut self.dependents[dependent]);
            }
        }
        blocked.sort_unstable();
        blocked
    }

    /// Every case that has not been handed out: nothing more is to start. Returns those.
    pub fn stop(&mut self) -> Vec<usize> {
        let ready = std::mem::take(&mut self.ready).into_iter().map(|(_, case)| case);
        let mut left: Vec<usize> = std::mem::take(&mut self.waiting).into_iter().chain(ready).collect();
        left.sort_unstable();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testledger_schemas::plan::{CaseType, Resume, Retries};

    fn case(id: &str, priority: Priority, needs: &[&str]) -> Case {
        Case {
            id: id.into(),
            matrix: String::new(),
            matrix_values: BTreeMap::new(),
            name: id.into(),
            case_type: CaseType::Generic,
            tags: vec![],
            priority,
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            env: vec![],
            timeout_ms: None,
            retries: Retries::NONE,
            resume: Resume::SameHost,
            steps: vec![],
        }
    }

    fn drain(schedule: &mut Schedule) -> Vec<usize> {
        std::iter::from_fn(|| schedule.take_next()).collect()
    }

    #[test]
    fn the_most_urgent_come_first_and_equals_in_the_order_of_the_plan() {
        let cases = [
            case("a", Priority::Low, &[]),
            case("b", Priority::Normal, &[]),
            case("c", Priority::Critical, &[]),
            case("d", Priority::Normal, &[]),
        ];
        assert_eq!(drain(&mut Schedule::new(&cases)), [2, 1, 3, 0]);
    }

    #[test]
    fn a_case_waits_for_every_cell_of_what_it_needs() {
        let normal = Priority::Normal;
        let cases = [case("a", normal, &[]), case("a", normal, &[]), case("b", normal, &["a"])];
        let mut schedule = Schedule::new(&cases);
        assert_eq!(drain(&mut schedule), [0, 1]);
        schedule.passed(0);
        assert_eq!(drain(&mut schedule), [0; 0]);
        schedule.passed(1);
        assert_eq!(drain(&mut schedule), [2]);
    }

    #[test]
    fn what_needs_a_failed_case_is_named_once_however_many_ways_lead_there() {
        let normal = Priority::Normal;
        let cases = [
            case("a", normal, &[]),
            case("b", normal, &["a"]),
            case("c", normal, &["a"]),
            case("d", normal, &["b", "c"]),
            case("e", normal, &[]),
        ];
        let mut schedule = Schedule::new(&cases);
        assert_eq!(drain(&mut schedule), [0, 4]);
        assert_eq!(schedule.not_passed(0), [1, 2, 3]);
        assert_eq!(schedule.stop(), [0; 0]);
    }

    #[test]
    fn stopping_names_everything_that_was_not_handed_out() {
        let normal = Priority::Normal;
        let mut schedule = Schedule::new(&[case("a", normal, &[]), case("b", normal, &["a"]), case("c", normal, &[])]);
        assert_eq!(schedule.take_next(), Some(0));
        assert_eq!(schedule.stop(), [1, 2]);
        assert_eq!(schedule.take_next(), None);
    }
}
