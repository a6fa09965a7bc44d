//! How values of the domain stand in a stored act: as the texts and numbers that people know.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// What is written as its text.
pub(super) mod as_text {
    use super::*;

    pub(in super::super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// 32 bytes as 64 hex digits.
pub(super) mod as_hex {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&hex::encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(String::deserialize(from)?, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

/// A public key in PEM.
pub(super) mod as_pem {
    use super::*;
    use crate::envelope::PublicKey;

    pub(in super::super) fn serialize<S: Serializer>(key: &PublicKey, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&key.spki_pem())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PublicKey, D::Error> {
        PublicKey::parse(String::deserialize(from)?.as_bytes()).map_err(D::Error::custom)
    }
}

/// A base date as its year.
pub(super) mod as_year {
    use super::*;
    use crate::sts::attributes::BaseDate;

    pub(in super::super) fn serialize<S: Serializer>(date: &BaseDate, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(date.year())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BaseDate, D::Error> {
        BaseDate::try_from(u16::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A token identifier as its number.
pub(super) mod as_number {
    use super::*;
    use crate::sts::tid::Tid;

    pub(in super::super) fn serialize<S: Serializer>(tid: &Tid, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(tid.value())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Tid, D::Error> {
        Tid::new(u32::deserialize(from)?).map_err(D::Error::custom)
    }
}
