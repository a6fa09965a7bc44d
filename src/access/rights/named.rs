//! Enums whose variants have names, the same in the database and on the command line.

use thiserror::Error;

/// A text that names nothing of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not the name of {1}")]
pub struct UnknownName(pub(super) String, pub(super) &'static str);

/// Declares such an enum: its name, what a variant is (for errors), and each variant with its text.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal { $($(#[$about:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $type {
            $($(#[$about])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let found = Self::ALL.iter().find(|known| known.as_str() == text);
                found.copied().ok_or_else(|| UnknownName(text.to_owned(), $what))
            }
        }

        impl From<$type> for &'static str {
            fn from(named: $type) -> Self {
                named.as_str()
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownName;

            fn try_from(text: String) -> Result<Self, UnknownName> {
                text.parse()
            }
        }
    };
}

pub(super) use named;
