//! What a person says of files that do not say it themselves: a profile in TOML.

use serde::Deserialize;

use super::{DateOrder, Field};
use crate::table::{DecimalMark, Encoding};

/// How files are to be read. Everything is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Table or text; what the file shows if not given.
    pub layout: Option<Layout>,
    /// A name such as `windows-1252`.
    #[serde(deserialize_with = "encoding")]
    pub encoding: Option<Encoding>,
    /// What separates the fields of a table: one character.
    #[serde(deserialize_with = "separator")]
    pub separator: Option<u8>,
    /// `dmy`, `mdy` or `ymd`: the order of dates that do not show it.
    pub date_order: Option<DateOrder>,
    /// `point` or `comma`.
    #[serde(deserialize_with = "decimal_mark")]
    pub decimal_mark: Option<DecimalMark>,
    /// The unit of quantities without one.
    pub unit: String,
    /// The currency of amounts without one.
    pub currency: String,
    /// More words that stand before values, or over columns.
    pub labels: Labels,
    /// What the columns of a table without a header are; `-` is none.
    pub columns: Vec<String>,
}

/// Words for each field.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Labels {
    /// Before the meter's number.
    pub meter: Vec<String>,
    /// Before the token.
    pub token: Vec<String>,
    /// Before what it transfers.
    pub units: Vec<String>,
    /// Before what was paid.
    pub amount: Vec<String>,
    /// Before the time.
    pub time: Vec<String>,
    /// Over a column of whole messages.
    pub message: Vec<String>,
    /// Before values that are none of these.
    pub other: Vec<String>,
}

/// The shape of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Rows of columns.
    Table,
    /// Messages.
    Text,
}

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not TOML, or names and values that are not known.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    /// A column that is none of the fields.
    #[error("columns: {0:?} is none of meter, token, units, amount, time, message and - for any other")]
    Column(String),
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`ProfileError`], with the place.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text)?;
        match profile.columns.iter().find(|name| column(name).is_none()) {
            Some(name) => Err(ProfileError::Column(name.clone())),
            None => Ok(profile),
        }
    }

    /// Its words with what they mean.
    pub(super) fn own_labels(&self) -> [(Field, &[String]); 7] {
        let Labels { meter, token, units, amount, time, message, other } = &self.labels;
        [
            (Field::Meter, meter),
            (Field::Token, token),
            (Field::Units, units),
            (Field::Amount, amount),
            (Field::Time, time),
            (Field::Message, message),
            (Field::Other, other),
        ]
    }

    /// What its columns are.
    pub(super) fn own_columns(&self) -> Vec<Field> {
        self.columns.iter().filter_map(|name| column(name)).collect()
    }
}

fn column(name: &str) -> Option<Field> {
    Some(match name {
        "meter" => Field::Meter,
        "token" => Field::Token,
        "units" => Field::Units,
        "amount" => Field::Amount,
        "time" => Field::Time,
        "message" => Field::Message,
        "-" | "" => Field::Other,
        _ => return None,
    })
}

fn encoding<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Encoding>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(serde::de::Error::custom)
}

fn separator<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    let text = String::deserialize(from)?;
    match text.as_bytes() {
        [separator] if separator.is_ascii() => Ok(Some(*separator)),
        _ => Err(serde::de::Error::custom("expected one character, such as \";\" or \"\\t\"")),
    }
}

fn decimal_mark<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<DecimalMark>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "point" => Ok(Some(DecimalMark::Point)),
        "comma" => Ok(Some(DecimalMark::Comma)),
        _ => Err(serde::de::Error::custom("expected point or comma")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_whole_or_refused_with_the_place() {
        let profile = Profile::parse(
            "layout = \"text\"\nencoding = \"latin1\"\nseparator = \"\\t\"\ndate_order = \"mdy\"\ndecimal_mark = \"comma\"\n\
             unit = \"kWh\"\ncurrency = \"XOF\"\ncolumns = [\"meter\", \"-\", \"token\"]\n[labels]\nmeter = [\"POD\"]\n",
        )
        .unwrap();
        assert_eq!(profile.own_columns(), [Field::Meter, Field::Other, Field::Token]);
        assert_eq!((profile.separator, profile.layout), (Some(b'\t'), Some(Layout::Text)));
        for (text, said) in [
            ("colour = 1", "colour"),
            ("date_order = \"ydm\"", "ydm"),
            ("separator = \"ab\"", "one character"),
            ("columns = [\"metre\"]", "metre"),
            ("encoding = \"ebcdic\"", "utf-8"),
            ("decimal_mark = \";\"", "point or comma"),
        ] {
            let error = Profile::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(Profile::parse("").is_ok());
    }
}
