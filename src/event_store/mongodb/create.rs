//! The collections, their indexes and page 0: made where they are missing, refused where they are another program's.

use mongodb::IndexModel;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::IndexOptions;
use testledger_schemas::ids::LogId;
use testledger_schemas::page::{FORMAT_VERSION, Page};

use crate::event_store::StoreError;
use crate::event_store::mongodb::changes;
use crate::event_store::mongodb::documents::{commit_in, encode, page_in};
use crate::event_store::mongodb::errors::{code_of, codes, is_duplicate};
use crate::event_store::mongodb::shared::{ARTIFACTS, COMMITS, PAGES, STATE, Shared};
use crate::ports::ids::{Ids, RandomIds};

/// What is done about a log whose page 0 is not there.
const LOST: &str = "page 0 is missing: the log lost its beginning; restore it from a backup, or name another database";

impl Shared {
    /// Whether the database has a log. Refuses one of another format, one that lost its beginning, and collections of
    /// another program.
    pub(super) async fn has_log(&self) -> Result<bool, StoreError> {
        if let Some(zero) = self.page_zero().await? {
            return self.check_format(&zero).map(|()| true);
        }
        self.check_empty().await
    }

    async fn page_zero(&self) -> Result<Option<RawDocumentBuf>, StoreError> {
        let pages = self.pages.clone();
        self.ask(async move { pages.find_one(doc! { "_id": 0_i64 }).await }).await
    }

    fn check_format(&self, zero: &RawDocument) -> Result<(), StoreError> {
        let format = zero.get_document("header").and_then(|header| header.get_i64("format_version"));
        let errors = &self.store.errors;
        match format {
            Ok(format) if format > i64::from(FORMAT_VERSION) => {
                let why =
                    format!("has format {format} and this program knows {FORMAT_VERSION}; use a newer testledger");
                Err(errors.refused(&why))
            }
            Ok(_) => page_in(zero).map(|_| ()).map_err(|why| errors.damaged(&format!("page 0: {why}"))),
            Err(_) => Err(errors.refused("the collection `pages` is another program's; name another database")),
        }
    }

    /// Makes what a log needs, unless another process was quicker.
    pub(super) async fn create(&self) -> Result<(), StoreError> {
        for name in [COMMITS, PAGES, ARTIFACTS, STATE] {
            let database = self.store.database();
            let making = async move { database.create_collection(name).await };
            match self.store.attempt(making).await? {
                Err(error) if code_of(&error) != Some(codes::NAMESPACE_EXISTS) => {
                    return Err(self.store.errors.store(&error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        self.make_indexes().await?;
        // From before the first commit: nobody appends before page 0 is there.
        let token = changes::token_of_now(self).await.map_err(|error| self.store.errors.store(&error))?;
        let zero = Page::genesis(LogId(RandomIds.time_ordered()), Some(token));
        let document = encode(&zero).map_err(|why| self.store.errors.damaged(&why))?;
        let pages = self.pages.clone();
        match self.store.attempt(async move { pages.insert_one(document).await }).await? {
            Err(error) if !is_duplicate(&error) => Err(self.store.errors.store(&error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Makes the indexes where they are missing.
    pub(super) async fn make_indexes(&self) -> Result<(), StoreError> {
        let pages = self.pages.clone();
        self.ask(async move { pages.create_indexes(indexes()).await }).await.map(|_| ())
    }

    /// What stands in the collections without page 0 is another program's, or what is left of a log: then this refuses.
    /// True where another process has made the log meanwhile.
    async fn check_empty(&self) -> Result<bool, StoreError> {
        for (name, collection) in [(COMMITS, &self.commits), (PAGES, &self.pages)] {
            let collection = collection.clone();
            let Some(found) = self.ask(async move { collection.find_one(doc! {}).await }).await? else { continue };
            if let Some(zero) = self.page_zero().await? {
                return self.check_format(&zero).map(|()| true);
            }
            let errors = &self.store.errors;
            if commit_in(&found).is_ok() || page_in(&found).is_ok() {
                return Err(errors.damaged(LOST));
            }
            let why = format!("the collection `{name}` is another program's; name another database");
            return Err(errors.refused(&why));
        }
        Ok(false)
    }
}

/// No commit has two places, and a position leads to its page. Pages without commits are not in the first index (it is
/// sparse): there they would all have the same key.
fn indexes() -> [IndexModel; 2] {
    let index = |name: &str, keys: Document, mut options: IndexOptions| {
        options.name = Some(name.to_owned());
        IndexModel::builder().keys(keys).options(options).build()
    };
    let once = IndexOptions::builder().unique(true).sparse(true).build();
    [
        index("by_commit", doc! { "entries.commit": 1 }, once),
        index("by_position", doc! { "first_position": 1, "_id": 1 }, IndexOptions::default()),
    ]
}
