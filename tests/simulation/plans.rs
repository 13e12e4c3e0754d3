//! The plan of a seed.

use std::collections::BTreeMap;

use rand::{RngExt, rngs::StdRng};
use testledger_schemas::Plan;
use testledger_schemas::plan::{
    Action, Case, CaseType, CommandLine, OnInterrupt, Priority, Resume, Retries, RunAction, RunExpect, Step, TextExpect,
};

pub fn plan(seed: u64, random: &mut StdRng) -> Plan {
    let is_suite = random.random_bool(0.8);
    let count = if is_suite { random.random_range(1..6) } else { 1 };
    let cases: Vec<Case> = (0..count).map(|index| case(index, random)).collect();
    Plan {
        suite: format!("seed-{seed}"),
        name: format!("seed {seed}"),
        source: "simulation".to_owned(),
        is_suite,
        directory: "/".to_owned(),
        params: BTreeMap::new(),
        required_params: vec![],
        env: vec![],
        secrets: vec![],
        concurrency: None,
        fail_fast: random.random_bool(0.2),
        deadline_ms: random.random_bool(0.1).then(|| random.random_range(500..5_000)),
        services: vec![],
        cases,
    }
}

fn case(index: usize, random: &mut StdRng) -> Case {
    let needs = (0..index).filter(|_| random.random_bool(0.2)).map(|needed| format!("c{needed}")).collect();
    let steps = (0..random.random_range(1..4)).map(|step| sim_step(index, step, random)).collect();
    Case {
        id: format!("c{index}"),
        matrix: String::new(),
        matrix_values: BTreeMap::new(),
        name: format!("case {index}"),
        case_type: CaseType::Generic,
        tags: vec![],
        priority: [Priority::Low, Priority::Normal, Priority::High][random.random_range(0..3)],
        needs,
        env: vec![],
        timeout_ms: random.random_bool(0.2).then(|| random.random_range(100..4_000)),
        retries: Retries { max_attempts: random.random_range(1..4), backoff_ms: 300, backoff_factor: 2 },
        resume: if random.random_bool(0.2) { Resume::Anywhere } else { Resume::SameHost },
        steps,
    }
}

fn sim_step(case: usize, step: usize, random: &mut StdRng) -> Step {
    let exit = u32::from(random.random_bool(0.15));
    let fail_first = if random.random_bool(0.2) { random.random_range(1..3) } else { 0 };
    // Some take longer than a lease.
    let takes =
        if random.random_bool(0.04) { random.random_range(30_000..150_000) } else { random.random_range(1..1_500_u32) };
    let argv = [
        "sim".to_owned(),
        format!("c{case}/s{step}"),
        takes.to_string(),
        exit.to_string(),
        fail_first.to_string(),
        "{{ execution.id }}".to_owned(),
        format!("s{step}"),
    ];
    // A step that takes as long as it may ends one way or the other.
    let apart = |timeout: u64| if timeout.abs_diff(u64::from(takes)) < 5 { timeout + 50 } else { timeout };
    Step {
        id: format!("s{step}"),
        name: format!("step {step}"),
        action: Action::Run(RunAction {
            command: CommandLine::Argv(argv.into()),
            directory: None,
            env: vec![],
            expect: RunExpect {
                exit_codes: vec![0],
                stdout: TextExpect::default(),
                stderr: TextExpect::default(),
                within_ms: None,
            },
        }),
        timeout_ms: random.random_bool(0.2).then(|| apart(random.random_range(100..2_000))),
        retries: Retries { max_attempts: random.random_range(1..3), backoff_ms: 100, backoff_factor: 2 },
        on_interrupt: if random.random_bool(0.1) { OnInterrupt::Fail } else { OnInterrupt::Rerun },
        capture: BTreeMap::new(),
        report: None,
    }
}
