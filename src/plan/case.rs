//! Reads cases: their fields, their matrix written out, their steps.

use std::collections::{BTreeMap, BTreeSet};

use testledger_schemas::plan::document::{CaseDocument, DefaultsDocument, ScalarText, StepDocument};
use testledger_schemas::plan::{Case, Step};

use super::limits::{MAX_CASES, MAX_EXPANDED_BYTES, MAX_MATRIX_CELLS, MAX_MATRIX_KEYS, MAX_STEPS, MAX_STEPS_IN_ALL};
use super::names::{Declared, Known, is_id};
use super::problem::shown;
use super::reader::Reader;
use super::step;
use super::tree::Path;

/// What all cases together have taken up of the limits.
#[derive(Default)]
pub struct Room {
    cases: usize,
    steps: usize,
    bytes: usize,
}

/// One case, once for each cell of its matrix. `declared` is what the plan declares for all of them.
pub fn read(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    case: &CaseDocument,
    defaults: &DefaultsDocument,
    declared: &Declared,
    room: &mut Room,
) -> Vec<Case> {
    let mut declared = declared.clone();
    declared.env.extend(case.env.0.iter().map(|(name, _)| name.clone()));
    declared.matrix = case.matrix.keys().cloned().collect();
    let known = Known::of(&declared);
    let cells = cells(reader, &path.key("matrix"), &case.matrix);
    tags(reader, &path.key("tags"), &case.tags);
    if let Some(directory) = &case.directory {
        reader.template(&path.key("directory"), directory, known);
    }
    let timeout = reader.duration(&path.key("timeout"), case.timeout);
    let read = Case {
        id: case.id.clone(),
        matrix: String::new(),
        matrix_values: BTreeMap::new(),
        name: reader.display_name(path, case.name.as_ref(), &case.id),
        case_type: case.case_type,
        tags: case.tags.clone(),
        priority: case.priority,
        needs: case.needs.clone(),
        env: reader.env(&path.key("env"), &case.env, known),
        timeout_ms: timeout.or(defaults.case_timeout.map(|timeout| timeout.ms)),
        retries: reader.retries(case.retries.as_ref().or(defaults.retries.as_ref())),
        resume: case.resume,
        steps: steps(reader, &path.key("steps"), case, defaults, declared.clone()),
    };
    if !fits(reader, path, &read, cells.len(), room) {
        return vec![];
    }
    written_out(&read, cells)
}

fn steps(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    case: &CaseDocument,
    defaults: &DefaultsDocument,
    mut declared: Declared,
) -> Vec<Step> {
    if case.steps.len() > MAX_STEPS {
        let message = format!("this case has {} steps", case.steps.len());
        reader.wrong(path, message, format!("keep it to {MAX_STEPS}: make several cases of it"));
        return vec![];
    }
    let mut ids = BTreeSet::new();
    let mut steps = vec![];
    declared.later = captured_by(&case.steps);
    for (index, document) in case.steps.iter().enumerate() {
        let below = path.index(index);
        if !ids.insert(document.id.as_str()) {
            let message = format!("the step id `{}` is used twice in this case", shown(&document.id));
            reader.wrong(&below.key("id"), message, "give every step of a case an id of its own");
        }
        steps.extend(step::read(reader, &below, document, case, defaults, Known::of(&declared)));
        for name in document.capture.keys().filter(|name| declared.later.remove(*name).is_some()) {
            declared.captures.insert(name.clone());
        }
    }
    steps
}

/// The first step that captures each name.
fn captured_by(steps: &[StepDocument]) -> BTreeMap<String, String> {
    let names = steps.iter().rev().flat_map(|step| step.capture.keys().map(move |name| (name, &step.id)));
    names.map(|(name, id)| (name.clone(), id.clone())).collect()
}

fn tags(reader: &mut Reader<'_>, path: &Path<'_>, tags: &[String]) {
    for (index, tag) in tags.iter().enumerate() {
        if !is_id(tag) {
            let message = format!("`{}` is not a tag", shown(tag));
            reader.wrong(&path.index(index), message, "use letters, digits, `_`, `-` and `.`");
        }
    }
    reader.distinct(path, tags.iter().map(String::as_str));
}

/// The cells of a matrix: every combination, the last key changing fastest; one empty cell where there is no matrix.
fn cells(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    matrix: &BTreeMap<String, Vec<ScalarText>>,
) -> Vec<BTreeMap<String, String>> {
    for (key, values) in matrix {
        let below = path.key(key);
        reader.template_name(&below, key);
        matrix_values(reader, &below, values);
    }
    // An empty list is a problem of its own, and must not hide a large one.
    let count = matrix.values().try_fold(1_usize, |count, values| count.checked_mul(values.len().max(1)));
    if matrix.len() > MAX_MATRIX_KEYS {
        let message = format!("this matrix has {} keys", matrix.len());
        reader.wrong(path, message, format!("keep it to {MAX_MATRIX_KEYS}"));
        return vec![];
    }
    if count.is_none_or(|count| count > MAX_MATRIX_CELLS) {
        let count = count.map_or("too many".to_owned(), |count| count.to_string());
        let mend = format!("keep it to {MAX_MATRIX_CELLS}: fewer values, or several cases");
        reader.wrong(path, format!("this matrix has {count} cells"), mend);
        return vec![];
    }
    let mut cells = vec![BTreeMap::new()];
    for (key, values) in matrix {
        let with = |cell: &BTreeMap<String, String>, value: &ScalarText| {
            let mut cell = cell.clone();
            cell.insert(key.clone(), value.0.clone());
            cell
        };
        cells = cells.iter().flat_map(|cell| values.iter().map(move |value| with(cell, value))).collect();
    }
    cells
}

fn matrix_values(reader: &mut Reader<'_>, path: &Path<'_>, values: &[ScalarText]) {
    if values.is_empty() {
        reader.wrong(path, "this list is empty", "write at least one value, or take the key away");
    }
    for (index, ScalarText(value)) in values.iter().enumerate() {
        let below = path.index(index);
        // The cell's name is `key=value` pairs joined by commas, and must be read back without doubt.
        let sound = |c: char| !c.is_control() && !matches!(c, ',' | '=' | '[' | ']');
        if value.is_empty() || value.len() > 200 || !value.chars().all(sound) {
            let mend = "use 1 to 200 characters without `,`, `=`, `[`, `]` and line breaks";
            reader.wrong(&below, format!("`{}` cannot name a cell", shown(value)), mend);
        }
    }
    reader.distinct(path, values.iter().map(|value| value.0.as_str()));
}

/// Whether the case with all its cells still fits into the limits of a plan.
fn fits(reader: &mut Reader<'_>, path: &Path<'_>, case: &Case, cells: usize, room: &mut Room) -> bool {
    room.cases = room.cases.saturating_add(cells);
    room.steps = room.steps.saturating_add(case.steps.len().saturating_mul(cells));
    if cells > 1 {
        let bytes = serde_json::to_vec(case).map_or(0, |bytes| bytes.len());
        room.bytes = room.bytes.saturating_add(bytes.saturating_mul(cells));
    }
    let reached = [
        (room.cases > MAX_CASES, format!("the plan has more than {MAX_CASES} cases, matrix cells counted")),
        (
            room.steps > MAX_STEPS_IN_ALL,
            format!("the plan has more than {MAX_STEPS_IN_ALL} steps, matrix cells counted"),
        ),
        (
            room.bytes > MAX_EXPANDED_BYTES,
            format!("the cells of all matrices take more than {MAX_EXPANDED_BYTES} bytes"),
        ),
    ];
    let Some((_, message)) = reached.into_iter().find(|(is_reached, _)| *is_reached) else { return true };
    reader.wrong(path, message, "make several plans of it");
    false
}

fn written_out(case: &Case, cells: Vec<BTreeMap<String, String>>) -> Vec<Case> {
    let name = |cell: &BTreeMap<String, String>| {
        cell.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    };
    cells.into_iter().map(|cell| Case { matrix: name(&cell), matrix_values: cell, ..case.clone() }).collect()
}
