//! An HTTP request as people write it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{JsonDocument, Pairs, ScalarText, given};

/// Sends an HTTP request, such as `{ method: GET, url: "http://127.0.0.1:8080/" }`. Every text is a template.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpDocument {
    /// The method. Without it, `POST` where there is a body and `GET` where there is none.
    pub method: Option<String>,
    /// The URL, with `http://` or `https://`.
    pub url: String,
    /// Query parameters added to the URL, in order.
    #[serde(default)]
    pub query: Pairs<ScalarText>,
    /// Header fields, in order.
    #[serde(default)]
    pub headers: Pairs<ScalarText>,
    /// A JSON body: any value. A text that is exactly one `{{ name }}` keeps the JSON type of that value.
    #[serde(default, deserialize_with = "given")]
    pub json: Option<JsonDocument>,
    /// A form body: fields, in order.
    pub form: Option<Pairs<ScalarText>>,
    /// A text body.
    pub text: Option<String>,
    /// Whether redirects are followed (at most 10). `false` by default.
    #[serde(default)]
    pub follow_redirects: bool,
}
