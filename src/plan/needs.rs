//! Checks what cases need: that it exists, and that no case needs itself by way of others.

use std::collections::{BTreeMap, BTreeSet};

use testledger_schemas::plan::document::CaseDocument;

use super::problem::{shown, suggestion};
use super::reader::Reader;
use super::tree::Path;

/// Checks the `needs` of all cases.
pub fn check(reader: &mut Reader<'_>, path: &Path<'_>, cases: &[CaseDocument]) {
    let mut places = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        if places.insert(case.id.as_str(), index).is_some() {
            let message = format!("the case id `{}` is used twice", shown(&case.id));
            reader.wrong(&path.index(index).key("id"), message, "give every case an id of its own");
        }
    }
    let ids: Vec<&str> = places.keys().copied().collect();
    for (index, case) in cases.iter().enumerate() {
        let case_path = path.index(index);
        let needs_path = case_path.key("needs");
        for (place, need) in case.needs.iter().enumerate() {
            if !places.contains_key(need.as_str()) && !reader.is_full() {
                let message = format!("no case is called `{}`", shown(need));
                reader.wrong(&needs_path.index(place), message, suggestion(need, &ids));
            }
        }
        reader.distinct(&needs_path, case.needs.iter().map(String::as_str));
    }
    if let Some(cycle) = cycle(cases, &places) {
        let first = cycle.first().and_then(|id| places.get(id)).copied().unwrap_or_default();
        let way = cycle.iter().chain(cycle.first()).copied().collect::<Vec<_>>().join(" -> ");
        let mend = "take one of these needs away: none of the cases could ever start";
        reader.wrong(&path.index(first).key("needs"), format!("these cases need each other: {way}"), mend);
    }
}

/// The first circle of needs, in the order of needing. Kahn's algorithm leaves only cases that lead into a circle.
fn cycle<'c>(cases: &'c [CaseDocument], places: &BTreeMap<&'c str, usize>) -> Option<Vec<&'c str>> {
    let needs = |index: usize| cases[index].needs.iter().filter_map(|need| places.get(need.as_str()).copied());
    let mut open: Vec<usize> = (0..cases.len()).map(|index| needs(index).collect::<BTreeSet<_>>().len()).collect();
    let mut needed_by = vec![BTreeSet::new(); cases.len()];
    for index in 0..cases.len() {
        needs(index).for_each(|need| {
            needed_by[need].insert(index);
        });
    }
    let mut free: Vec<usize> = (0..cases.len()).filter(|index| open[*index] == 0).collect();
    while let Some(index) = free.pop() {
        for &next in &needed_by[index] {
            open[next] -= 1;
            if open[next] == 0 {
                free.push(next);
            }
        }
    }
    // From any case that is left, going on to a need that is left too must come round.
    let mut at = (0..cases.len()).find(|index| open[*index] > 0)?;
    let (mut way, mut passed) = (vec![], BTreeSet::new());
    while passed.insert(at) {
        way.push(at);
        at = needs(at).find(|need| open[*need] > 0)?;
    }
    let start = way.iter().position(|index| *index == at)?;
    Some(way[start..].iter().map(|index| cases[*index].id.as_str()).collect())
}
