//! Reads the plan as a whole: its own fields, parameters, secrets, services, and then its cases.

use std::collections::{BTreeMap, BTreeSet};

use testledger_schemas::Plan;
use testledger_schemas::plan::document::{DefaultsDocument, Duration, PlanDocument, ReadyDocument, ServiceDocument};
use testledger_schemas::plan::{Ready, Service};

use super::limits::MAX_SERVICES;
use super::names::{Declared, Known, is_id};
use super::problem::shown;
use super::reader::{Reader, texts};
use super::tree::Path;
use super::{Origin, case, command, needs, request, template};
use crate::ports::clock::ms;

/// How long a service may take to become ready where nothing is said: 30 s.
const DEFAULT_READY_TIMEOUT_MS: u64 = 30_000;

/// The plan of a document. It is whole only if the reader has found no problem.
pub fn read(reader: &mut Reader<'_>, document: &PlanDocument, origin: &Origin) -> Plan {
    let root = Path::Root;
    let suite = suite_id(reader, document, origin);
    let mut defaults = defaults(reader, &root.key("defaults"), document.defaults.as_ref());
    defaults.case_timeout.get_or_insert(Duration { ms: ms(origin.default_case_timeout) });
    defaults.timeout.get_or_insert(Duration { ms: ms(origin.default_step_timeout) });
    let declared = declared(document);
    let known = Known::of(&declared);
    params(reader, &root.key("params"), document);
    secrets(reader, document);
    needs::check(reader, &root.key("cases"), &document.cases);
    let mut room = case::Room::default();
    let cases_path = root.key("cases");
    let cases = document
        .cases
        .iter()
        .enumerate()
        .flat_map(|(index, case)| case::read(reader, &cases_path.index(index), case, &defaults, &declared, &mut room))
        .collect();
    Plan {
        name: reader.display_name(&root, document.name.as_ref(), &suite),
        suite,
        source: origin.path.clone(),
        is_suite: true,
        directory: origin.directory.to_string_lossy().into_owned(),
        params: document.params.0.iter().filter_map(|(name, value)| Some((name.clone(), value.0.clone()?))).collect(),
        required_params: required_params(document),
        env: reader.env(&root.key("env"), &document.env, known),
        secrets: document.secrets.clone(),
        concurrency: document.concurrency,
        fail_fast: document.fail_fast,
        deadline_ms: reader.duration(&root.key("deadline"), document.deadline),
        services: services(reader, &root.key("services"), &document.services, known),
        cases,
    }
}

fn suite_id(reader: &mut Reader<'_>, document: &PlanDocument, origin: &Origin) -> String {
    let id = document.suite.clone().unwrap_or_else(|| origin.default_suite.clone());
    if !is_id(&id) {
        let message = format!("the suite has no id, and the file's name gives none (`{}`)", shown(&id));
        reader.wrong(&Path::Root, message, "add `suite: NAME` with letters, digits, `_`, `-` and `.`");
    }
    id
}

fn defaults(reader: &mut Reader<'_>, path: &Path<'_>, document: Option<&DefaultsDocument>) -> DefaultsDocument {
    let defaults = document.cloned().unwrap_or_default();
    reader.duration(&path.key("timeout"), defaults.timeout);
    reader.duration(&path.key("case_timeout"), defaults.case_timeout);
    if let Some(directory) = &defaults.directory {
        reader.plain(&path.key("directory"), directory);
        if template::is_template(directory) {
            let mend = "write the directory itself, or a template in the `directory` of a case or step";
            reader.wrong(&path.key("directory"), "a default cannot be a template", mend);
        }
    }
    defaults
}

/// What every template of the plan can name.
fn declared(document: &PlanDocument) -> Declared {
    let env = document.env.0.iter().map(|(name, _)| name);
    Declared {
        params: document.params.0.iter().map(|(name, _)| name.clone()).collect(),
        env: env.chain(&document.secrets).cloned().collect(),
        ..Declared::default()
    }
}

fn params(reader: &mut Reader<'_>, path: &Path<'_>, document: &PlanDocument) {
    for (name, value) in &document.params.0 {
        let below = path.key(name);
        reader.template_name(&below, name);
        let Some(value) = &value.0 else { continue };
        reader.plain(&below, value);
        if template::is_template(value) {
            let mend = "write the default itself; a value of `env` can be a template that names parameters";
            reader.wrong(&below, "the default of a parameter cannot be a template", mend);
        }
    }
}

fn required_params(document: &PlanDocument) -> Vec<String> {
    document.params.0.iter().filter(|(_, value)| value.0.is_none()).map(|(name, _)| name.clone()).collect()
}

/// A secret comes from outside: it must not stand in the plan in clear.
fn secrets(reader: &mut Reader<'_>, document: &PlanDocument) {
    let path = Path::Root.key("secrets");
    for (index, name) in document.secrets.iter().enumerate() {
        let below = path.index(index);
        reader.variable_name(&below, name);
    }
    reader.distinct(&path, document.secrets.iter().map(String::as_str));
    let cases = document.cases.iter().enumerate();
    let envs = cases.flat_map(|(index, case)| {
        let steps = case.steps.iter().enumerate().map(move |(place, step)| (Some((index, Some(place))), &step.env));
        steps.chain(std::iter::once((Some((index, None)), &case.env)))
    });
    let secrets: BTreeSet<&str> = document.secrets.iter().map(String::as_str).collect();
    for (place, env) in envs.chain(std::iter::once((None, &document.env))) {
        let literal = |(name, value): &&(String, _)| {
            let value: &testledger_schemas::plan::document::ScalarText = value;
            secrets.contains(name.as_str()) && !template::is_template(&value.0)
        };
        for (name, _) in env.0.iter().filter(literal) {
            literal_secret(reader, place, name);
        }
    }
}

/// The case and its step where an environment stands.
type EnvPlace = Option<(usize, Option<usize>)>;

fn literal_secret(reader: &mut Reader<'_>, place: EnvPlace, name: &str) {
    let root = Path::Root;
    let cases = root.key("cases");
    let (index, step) = place.unwrap_or_default();
    let case = cases.index(index);
    let steps = case.key("steps");
    let step_path = steps.index(step.unwrap_or_default());
    let owner = match place {
        None => &root,
        Some((_, None)) => &case,
        Some((_, Some(_))) => &step_path,
    };
    let mend = format!("take the value out of the plan: `{name}` comes from the environment testledger is started in");
    reader.wrong(&owner.key("env").key(name), format!("the secret `{name}` stands here in clear"), mend);
}

fn services(reader: &mut Reader<'_>, path: &Path<'_>, documents: &[ServiceDocument], known: Known<'_>) -> Vec<Service> {
    if documents.len() > MAX_SERVICES {
        reader.wrong(path, format!("the plan has {} services", documents.len()), format!("keep it to {MAX_SERVICES}"));
    }
    let mut ids = BTreeMap::new();
    let mut services = vec![];
    for (index, document) in documents.iter().enumerate() {
        let below = path.index(index);
        if ids.insert(document.id.as_str(), index).is_some() {
            let message = format!("the service id `{}` is used twice", shown(&document.id));
            reader.wrong(&below.key("id"), message, "give every service an id of its own");
        }
        services.push(service(reader, &below, document, known));
    }
    services
}

fn service(reader: &mut Reader<'_>, path: &Path<'_>, document: &ServiceDocument, known: Known<'_>) -> Service {
    let known = known.with_env(&document.env);
    if let Some(directory) = &document.directory {
        reader.template(&path.key("directory"), directory, known);
    }
    let ready_path = path.key("ready");
    let timeout = document.ready.as_ref().and_then(|ready| ready.timeout);
    Service {
        id: document.id.clone(),
        command: command::read(reader, &path.key("run"), &document.run, known),
        directory: document.directory.clone(),
        env: {
            reader.env(&path.key("env"), &document.env, known);
            texts(&document.env)
        },
        ready: document.ready.as_ref().map_or(Ready::Started, |ready| self::ready(reader, &ready_path, ready, known)),
        ready_timeout_ms: reader.duration(&ready_path.key("timeout"), timeout).unwrap_or(DEFAULT_READY_TIMEOUT_MS),
    }
}

fn ready(reader: &mut Reader<'_>, path: &Path<'_>, document: &ReadyDocument, known: Known<'_>) -> Ready {
    let mut ways = vec![];
    if let Some(url) = &document.http {
        request::url(reader, &path.key("http"), url, known);
        ways.push(Ready::Http(url.clone()));
    }
    if let Some(address) = &document.tcp {
        reader.template(&path.key("tcp"), address, known);
        let is_address =
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !template::is_template(address) && !is_address {
            let message = format!("`{}` is not an address", shown(address));
            reader.wrong(&path.key("tcp"), message, "write `host:port`, such as `127.0.0.1:5432`");
        }
        ways.push(Ready::Tcp(address.clone()));
    }
    if let Some(regex) = &document.log {
        reader.regex(&path.key("log"), regex);
        ways.push(Ready::Log(regex.clone()));
    }
    if ways.len() != 1 {
        let message = format!("a service is ready in one way and this has {}", ways.len());
        reader.wrong(path, message, "keep one of `http`, `tcp` and `log`, or take `ready` away");
    }
    ways.pop().unwrap_or(Ready::Started)
}
