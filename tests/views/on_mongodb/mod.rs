//! What is MongoDB's own: indexes, documents, transactions, and a server that does not answer.

mod documents;
mod failover;
mod indexes;
mod saving;
mod wire;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use testledger::views::mongodb::Listed;
use testledger_projections::projection::{Projection, Recorded};

/// A projection with every kind of field that a view may have, and keys that are any text.
#[derive(Clone)]
pub struct Samples;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub text: String,
    pub whole: u64,
    pub signed: i64,
    pub small: u8,
    pub fraction: f64,
    pub is: bool,
    pub none: Option<u64>,
    pub pair: Option<(String, u32)>,
    pub unit: (),
    pub shape: Shape,
    pub by_text: BTreeMap<String, u64>,
    pub by_number: BTreeMap<i32, Vec<Option<Shape>>>,
    pub by_shape: BTreeMap<Kind, BTreeMap<String, String>>,
    #[serde(flatten)]
    pub flat: BTreeMap<String, i64>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Shape {
    #[default]
    Point,
    Circle(u32),
    Box {
        width: u64,
        tags: Vec<String>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    One,
    AndTwo,
}

impl Projection for Samples {
    const NAME: &'static str = "samples";
    const VERSION: u32 = 7;

    type Key = String;
    type View = Sample;
    type Echo = ();

    fn keys(&self, _: &Recorded) -> Vec<String> {
        vec![]
    }

    fn initial(&self, _: &String) -> Sample {
        Sample::default()
    }

    fn apply(&self, _: &String, _: &mut Sample, _: &Recorded) -> Vec<(String, ())> {
        vec![]
    }

    fn hear(&self, _: &mut Sample, (): &(), _: u64) -> Vec<(String, ())> {
        vec![]
    }
}

impl Listed for Samples {}

/// A sample that is told from others by its text.
pub fn sample(text: &str) -> Sample {
    Sample { text: text.to_owned(), ..Sample::default() }
}
