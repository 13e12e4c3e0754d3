//! Takes cases out of a plan, and gives its parameters their values.

use std::collections::{BTreeMap, BTreeSet};

use testledger_schemas::Plan;
use testledger_schemas::plan::{Case, Priority};

use super::problem::suggestion;

/// Which cases to run. What is empty selects everything; everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Ids (every cell of the matrix), or ids with a cell: `id[key=value]`.
    pub cases: Vec<String>,
    /// Any of these tags.
    pub tags: Vec<String>,
    /// This priority or a higher one.
    pub priority: Option<Priority>,
}

impl Selection {
    /// Whether a case is selected by itself.
    #[must_use]
    pub fn holds(&self, case: &Case) -> bool {
        let by_id = self.cases.is_empty() || self.cases.iter().any(|name| *name == case.id || *name == case.label());
        let by_tag = self.tags.is_empty() || self.tags.iter().any(|tag| case.tags.contains(tag));
        by_id && by_tag && self.priority.is_none_or(|least| case.priority >= least)
    }
}

/// Keeps the selected cases, and every case that they need, and those that these need: without them a selected case
/// could never start. The plan's order stays. Nothing may be left.
#[must_use]
pub fn select(mut plan: Plan, selection: &Selection) -> Plan {
    let is_selected: Vec<bool> = plan.cases.iter().map(|case| selection.holds(case)).collect();
    let mut by_id: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in &plan.cases {
        by_id.entry(&case.id).or_default().push(case);
    }
    let selected = plan.cases.iter().zip(&is_selected).filter(|(_, is_selected)| **is_selected);
    let mut open: Vec<&str> = selected.flat_map(|(case, _)| case.needs.iter().map(String::as_str)).collect();
    let mut needed = BTreeSet::new();
    while let Some(id) = open.pop() {
        if needed.insert(id.to_owned()) {
            let cells = by_id.get(id).into_iter().flatten();
            open.extend(cells.flat_map(|case| case.needs.iter().map(String::as_str)));
        }
    }
    let mut is_selected = is_selected.into_iter();
    plan.cases.retain(|case| is_selected.next().unwrap_or_default() || needed.contains(&case.id));
    plan
}

/// What is asked for by name and is not in the plan, in words with a mend; empty if all is there.
#[must_use]
pub fn unknown(plan: &Plan, selection: &Selection) -> Vec<String> {
    let ids: BTreeSet<&str> = plan.cases.iter().map(|case| case.id.as_str()).collect();
    let tags: BTreeSet<&str> = plan.cases.iter().flat_map(|case| &case.tags).map(String::as_str).collect();
    let (ids, tags): (Vec<&str>, Vec<&str>) = (ids.into_iter().collect(), tags.into_iter().collect());
    let is_case = |name: &String| plan.cases.iter().any(|case| case.id == **name || case.label() == **name);
    let cases = selection.cases.iter().filter(|name| !is_case(name));
    let cases = cases.map(|name| format!("no case is called `{name}`: {}", suggestion(name, &ids)));
    let strange_tags = selection.tags.iter().filter(|tag| !tags.contains(&tag.as_str()));
    cases.chain(strange_tags.map(|tag| format!("no case has the tag `{tag}`: {}", suggestion(tag, &tags)))).collect()
}

/// Why parameters do not fit a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The plan has no such parameter.
    #[error("the plan has no parameter `{name}`: {mend}")]
    Unknown {
        /// The name given.
        name: String,
        /// What would be right.
        mend: String,
    },
    /// Parameters without a default were not given.
    #[error("the plan needs a value for {}: add {}", quoted(.0), as_arguments(.0))]
    Missing(Vec<String>),
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn as_arguments(names: &[String]) -> String {
    names.iter().map(|name| format!("`--param {name}=VALUE`")).collect::<Vec<_>>().join(" ")
}

/// Gives the parameters their values for this run; those not given keep their defaults.
///
/// # Errors
/// [`ParamError`] for a name the plan does not have, and for a parameter that has no value then.
pub fn with_params(mut plan: Plan, values: &BTreeMap<String, String>) -> Result<Plan, ParamError> {
    for (name, value) in values {
        let is_required = plan.required_params.contains(name);
        if !is_required && !plan.params.contains_key(name) {
            let names = plan.params.keys().chain(&plan.required_params);
            let names: Vec<&str> = names.map(String::as_str).collect();
            return Err(ParamError::Unknown { name: name.clone(), mend: suggestion(name, &names) });
        }
        plan.required_params.retain(|required| required != name);
        plan.params.insert(name.clone(), value.clone());
    }
    if plan.required_params.is_empty() { Ok(plan) } else { Err(ParamError::Missing(plan.required_params)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Origin, parse};

    fn plan() -> Plan {
        let text = "
params: { region: eu, token: }
cases:
  - { id: first, tags: [base], steps: [{ id: s, run: [a] }] }
  - { id: grid, needs: [first], matrix: { os: [a, b] }, steps: [{ id: s, run: [a] }] }
  - { id: last, needs: [grid], tags: [smoke], priority: high, steps: [{ id: s, run: [a] }] }
  - { id: other, tags: [smoke], priority: low, steps: [{ id: s, run: [a] }] }
";
        let origin = Origin::of_file(std::path::Path::new("p.yaml"), "/".into());
        parse(text, &origin).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn labels(selection: &Selection) -> Vec<String> {
        select(plan(), selection).cases.iter().map(Case::label).collect()
    }

    #[test]
    fn what_a_selected_case_needs_stays_with_it() {
        let cases = |names: &[&str]| Selection {
            cases: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Selection::default()
        };
        assert_eq!(labels(&cases(&["last"])), ["first", "grid[os=a]", "grid[os=b]", "last"]);
        assert_eq!(labels(&cases(&["grid[os=b]"])), ["first", "grid[os=b]"]);
        assert_eq!(labels(&cases(&["first", "other"])), ["first", "other"]);
        assert_eq!(labels(&Selection::default()).len(), 5);
        assert!(labels(&cases(&["nothing"])).is_empty());
    }

    #[test]
    fn tags_and_priority_must_both_hold() {
        let smoke = Selection { tags: vec!["smoke".into(), "x".into()], ..Selection::default() };
        assert_eq!(labels(&smoke).last().map(String::as_str), Some("other"));
        let high = Selection { priority: Some(Priority::High), ..smoke };
        assert_eq!(labels(&high), ["first", "grid[os=a]", "grid[os=b]", "last"]);
    }

    #[test]
    fn names_that_are_not_there_are_told_with_what_is() {
        let selection = Selection { cases: vec!["frist".into()], tags: vec!["smok".into()], priority: None };
        assert_eq!(
            unknown(&plan(), &selection),
            ["no case is called `frist`: did you mean `first`?", "no case has the tag `smok`: did you mean `smoke`?"]
        );
        assert!(unknown(&plan(), &Selection { cases: vec!["grid[os=a]".into()], ..Selection::default() }).is_empty());
    }

    #[test]
    fn parameters_are_given_refused_and_missed() {
        let given = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let whole = with_params(plan(), &given(&[("token", "t"), ("region", "us")])).unwrap();
        assert_eq!(whole.params, given(&[("token", "t"), ("region", "us")]));
        assert!(whole.required_params.is_empty());
        let missing = with_params(plan(), &given(&[])).unwrap_err().to_string();
        assert_eq!(missing, "the plan needs a value for `token`: add `--param token=VALUE`");
        let unknown = with_params(plan(), &given(&[("regoin", "us")])).unwrap_err().to_string();
        assert_eq!(unknown, "the plan has no parameter `regoin`: did you mean `region`?");
    }
}
