//! What lists ask of a projection's views, and the indexes that answer them.

use bson::Document;
use mongodb::IndexModel;
use mongodb::options::IndexOptions;
use testledger_projections::projection::Projection;

/// A projection whose views may be kept in MongoDB. Without lists it needs to say nothing.
pub trait Listed: Projection {
    /// Fields that stand in the document beside the view's own, for lists to be ordered by. Their names begin with `_`.
    fn beside(_view: &Self::View) -> Document {
        Document::new()
    }

    /// The indexes of the views. An index that changes needs a new name.
    fn indexes() -> Vec<IndexModel> {
        Vec::new()
    }
}

/// An index of this name over these fields; only of the documents of `only`, where that is not empty.
pub(super) fn index(name: &str, keys: Document, only: Document) -> IndexModel {
    let mut options = IndexOptions::builder().name(name.to_owned()).build();
    options.partial_filter_expression = Some(only).filter(|only| !only.is_empty());
    IndexModel::builder().keys(keys).options(options).build()
}
