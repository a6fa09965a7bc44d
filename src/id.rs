//! Identifiers of stored things: UUIDs, one type per kind of thing so that they cannot be mistaken
//! for each other.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

/// A text that is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an identifier: 8-4-4-4-12 lower-case hexadecimal digits are expected")]
pub struct IdError;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// As text in the hyphenated lower-case form only: one thing has one name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh identifier: UUIDv7, so that rows made one after another lie side by side.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// From the 16 bytes of the UUID, big endian.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the UUID, big endian.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let id = Uuid::try_parse(text).map_err(|_| IdError)?;
                // The parser also takes braces, URNs, capitals and no hyphens: other names of the
                // same thing.
                if id.to_string() == text { Ok(Self(id)) } else { Err(IdError) }
            }
        }
    };
}

identifier! {
    /// A configuration. Its 16 bytes are the CKA_ID of its objects in the HSM.
    ConfigurationId
}
identifier! {
    /// A public key that signs uploads.
    PublicKeyId
}
identifier! {
    /// A client: a till system or an administrator.
    ClientId
}
identifier! {
    /// An act that waits for more than one person.
    ApprovalId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let id = ConfigurationId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ConfigurationId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn only_one_spelling_is_a_name() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert!(id.parse::<ClientId>().is_ok());
        for other in [
            "01890A5D-AC96-774B-BCCE-B302099A8057",
            "01890a5dac96774bbcceb302099a8057",
            "{01890a5d-ac96-774b-bcce-b302099a8057}",
            "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
            "01890a5d-ac96-774b-bcce-b302099a805",
            "",
        ] {
            assert_eq!(other.parse::<ClientId>(), Err(IdError), "{other}");
        }
    }
}
