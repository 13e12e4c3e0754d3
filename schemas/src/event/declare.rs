//! Macros that declare the vocabulary: the derives that all its structs and constants share.

/// Declares a struct or enum of the vocabulary with the derives they all share.
macro_rules! vocabulary {
    ($($(#[$meta:meta])* pub $kind:ident $name:ident { $($body:tt)* })*) => {
        $(
            #[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[serde(deny_unknown_fields)]
            $(#[$meta])*
            pub $kind $name { $($body)* }
        )*
    };
}

/// Declares an enum of constants, written in SCREAMING_SNAKE_CASE.
macro_rules! constants {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident),* $(,)? })*) => {
        $(
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
            $(#[$meta])*
            pub enum $name { $($(#[$vmeta])* $variant),* }
        )*
    };
}
pub(crate) use {constants, vocabulary};
