//! The attributes of a vending key and of the decoder keys derived from it (STS facts §1).

use std::fmt;
use std::str::FromStr;

use super::digits::{Digits, digit_text};
use super::meter::Iin;

/// Why a value is none of the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Not six decimal digits.
    #[error("a supply group code is 6 decimal digits")]
    SupplyGroupCode,
    /// Not 0..=99.
    #[error("a tariff index is 00 to 99")]
    TariffIndex,
    /// Not 1..=9.
    #[error("a key revision number is 1 to 9")]
    KeyRevision,
    /// Not 0..=3.
    #[error("a key type is 0 (DITK), 1 (DDTK), 2 (DUTK) or 3 (DCTK)")]
    KeyType,
    /// Not 0..=255.
    #[error("a key expiry number is 0 to 255")]
    KeyExpiry,
    /// Not 7, 9 or 11.
    #[error("an encryption algorithm is 7, 9 or 11")]
    EncryptionAlgorithm,
    /// Not 1..=4.
    #[error("a decoder key generation algorithm is 1, 2, 3 or 4")]
    Dkga,
    /// Not 1993, 2014 or 2035.
    #[error("a base date is 1993, 2014 or 2035")]
    BaseDate,
}

/// Everything that a decoder key and its tokens depend on, but for the meter and the vending key
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Who issues the meters of this group.
    pub iin: Iin,
    /// The supply group.
    pub sgc: SupplyGroupCode,
    /// The tariff.
    pub ti: TariffIndex,
    /// Which revision of the vending key.
    pub krn: KeyRevision,
    /// What kind of key.
    pub kt: KeyType,
    /// Until which TID the key serves.
    pub ken: KeyExpiry,
    /// How tokens are encrypted.
    pub ea: EncryptionAlgorithm,
    /// How decoder keys are derived.
    pub dkga: Dkga,
    /// Where TIDs count from.
    pub base_date: BaseDate,
}

/// Supply group code, six digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SupplyGroupCode(Digits<6>);

digit_text!(SupplyGroupCode);

impl FromStr for SupplyGroupCode {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        Digits::parse(text).filter(|_| text.len() == 6).map(Self).ok_or(AttributeError::SupplyGroupCode)
    }
}

impl TryFrom<u32> for SupplyGroupCode {
    type Error = AttributeError;

    fn try_from(value: u32) -> Result<Self, AttributeError> {
        format!("{value:06}").parse()
    }
}

impl SupplyGroupCode {
    /// The code as a number, 0..=999999: its binary form in key-change tokens.
    pub fn value(&self) -> u32 {
        self.0.as_bytes().iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
    }
}

/// Tariff index, 0..=99; two digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TariffIndex(u8);

impl TariffIndex {
    /// 0..=99.
    pub fn value(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for TariffIndex {
    type Error = AttributeError;

    fn try_from(value: u8) -> Result<Self, AttributeError> {
        if value <= 99 { Ok(Self(value)) } else { Err(AttributeError::TariffIndex) }
    }
}

impl FromStr for TariffIndex {
    type Err = AttributeError;

    /// One or two decimal digits.
    fn from_str(text: &str) -> Result<Self, AttributeError> {
        small_number(text, 2).ok_or(AttributeError::TariffIndex)?.try_into()
    }
}

impl fmt::Display for TariffIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

/// Key revision number, 1..=9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRevision(u8);

impl KeyRevision {
    /// 1..=9.
    pub fn value(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for KeyRevision {
    type Error = AttributeError;

    fn try_from(value: u8) -> Result<Self, AttributeError> {
        if (1..=9).contains(&value) { Ok(Self(value)) } else { Err(AttributeError::KeyRevision) }
    }
}

impl FromStr for KeyRevision {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        small_number(text, 1).ok_or(AttributeError::KeyRevision)?.try_into()
    }
}

impl fmt::Display for KeyRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Key type: what a decoder key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// Initialisation, in the factory only.
    Ditk = 0,
    /// Default: takes key changes, no credit.
    Ddtk = 1,
    /// Unique to one meter.
    Dutk = 2,
    /// Common to all meters of a group.
    Dctk = 3,
}

impl KeyType {
    /// 0..=3.
    pub fn value(self) -> u8 {
        self as u8
    }

    /// Whether a key change may lead from a key of this type to one of `new`: equal types always, 0
    /// to any, 1 to 2 or 3 (STS facts §6; the table of the standard is not public, so nothing
    /// beyond its known minimum is allowed).
    pub fn may_become(self, new: Self) -> bool {
        self == new || self.value() < new.value() && self.value() <= 1
    }
}

impl TryFrom<u8> for KeyType {
    type Error = AttributeError;

    fn try_from(value: u8) -> Result<Self, AttributeError> {
        match value {
            0 => Ok(Self::Ditk),
            1 => Ok(Self::Ddtk),
            2 => Ok(Self::Dutk),
            3 => Ok(Self::Dctk),
            _ => Err(AttributeError::KeyType),
        }
    }
}

impl FromStr for KeyType {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        small_number(text, 1).ok_or(AttributeError::KeyType)?.try_into()
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

/// Key expiry number: the key serves TIDs whose upper 8 bits are not above it; 255 is never (STS
/// facts §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyExpiry(pub u8);

impl FromStr for KeyExpiry {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        small_number(text, 3).map(Self).ok_or(AttributeError::KeyExpiry)
    }
}

impl fmt::Display for KeyExpiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a token's block is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncryptionAlgorithm {
    /// STA, a 64-bit key.
    Ea07,
    /// DEA, single DES; withdrawn in 2018.
    Ea09,
    /// MISTY1, a 128-bit key.
    Ea11,
}

impl EncryptionAlgorithm {
    /// 7, 9 or 11.
    pub fn code(self) -> u8 {
        match self {
            Self::Ea07 => 7,
            Self::Ea09 => 9,
            Self::Ea11 => 11,
        }
    }

    /// Bytes of its decoder key, 8 or 16.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::Ea07 | Self::Ea09 => 8,
            Self::Ea11 => 16,
        }
    }
}

impl TryFrom<u8> for EncryptionAlgorithm {
    type Error = AttributeError;

    fn try_from(code: u8) -> Result<Self, AttributeError> {
        match code {
            7 => Ok(Self::Ea07),
            9 => Ok(Self::Ea09),
            11 => Ok(Self::Ea11),
            _ => Err(AttributeError::EncryptionAlgorithm),
        }
    }
}

impl fmt::Display for EncryptionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EA{:02}", self.code())
    }
}

/// Decoder key generation algorithm: how a decoder key comes from a vending key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dkga {
    /// Legacy DES with its roles swapped; never issued, see [`super::software`].
    Dkga01,
    /// Single DES.
    Dkga02,
    /// Two-key triple DES; withdrawn in 2018.
    Dkga03,
    /// HMAC-SHA-256.
    Dkga04,
}

impl Dkga {
    /// 1..=4.
    pub fn code(self) -> u8 {
        match self {
            Self::Dkga01 => 1,
            Self::Dkga02 => 2,
            Self::Dkga03 => 3,
            Self::Dkga04 => 4,
        }
    }

    /// Bytes of the vending key that it wants: 8, 16 (K1, K2) or 20.
    pub fn vending_key_bytes(self) -> usize {
        match self {
            Self::Dkga01 | Self::Dkga02 => 8,
            Self::Dkga03 => 16,
            Self::Dkga04 => 20,
        }
    }
}

impl TryFrom<u8> for Dkga {
    type Error = AttributeError;

    fn try_from(code: u8) -> Result<Self, AttributeError> {
        match code {
            1 => Ok(Self::Dkga01),
            2 => Ok(Self::Dkga02),
            3 => Ok(Self::Dkga03),
            4 => Ok(Self::Dkga04),
            _ => Err(AttributeError::Dkga),
        }
    }
}

impl fmt::Display for Dkga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DKGA{:02}", self.code())
    }
}

/// Where TIDs count from: 1 January of the year, 00:00 UTC. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseDate {
    /// 1993.
    Y1993,
    /// 2014.
    Y2014,
    /// 2035.
    Y2035,
}

impl BaseDate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Y1993, Self::Y2014, Self::Y2035];

    /// 1993, 2014 or 2035.
    pub fn year(self) -> u16 {
        match self {
            Self::Y1993 => 1993,
            Self::Y2014 => 2014,
            Self::Y2035 => 2035,
        }
    }

    /// Its first second, in seconds since 1970-01-01T00:00Z.
    pub fn unix_seconds(self) -> i64 {
        match self {
            Self::Y1993 => 725_846_400,
            Self::Y2014 => 1_388_534_400,
            Self::Y2035 => 2_051_222_400,
        }
    }
}

impl TryFrom<u16> for BaseDate {
    type Error = AttributeError;

    fn try_from(year: u16) -> Result<Self, AttributeError> {
        match year {
            1993 => Ok(Self::Y1993),
            2014 => Ok(Self::Y2014),
            2035 => Ok(Self::Y2035),
            _ => Err(AttributeError::BaseDate),
        }
    }
}

impl fmt::Display for BaseDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.year().fmt(f)
    }
}

/// A number of at most `digits` decimal digits and nothing else (`u8::from_str` would take a plus
/// sign).
fn small_number(text: &str, digits: usize) -> Option<u8> {
    if text.len() > digits || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_attributes() {
        assert_eq!("01".parse::<TariffIndex>().unwrap().to_string(), "01");
        assert_eq!("7".parse::<TariffIndex>().unwrap().to_string(), "07");
        assert_eq!(SupplyGroupCode::try_from(46).unwrap().as_str(), "000046");
        assert_eq!("201457".parse::<SupplyGroupCode>().unwrap().value(), 0x0312F1);
        assert_eq!(EncryptionAlgorithm::Ea07.to_string(), "EA07");
        assert_eq!(Dkga::Dkga04.to_string(), "DKGA04");
    }

    #[test]
    fn values_out_of_range() {
        assert!(TariffIndex::try_from(100).is_err());
        assert!("+1".parse::<TariffIndex>().is_err());
        assert!("001".parse::<TariffIndex>().is_err());
        assert!(KeyRevision::try_from(0).is_err());
        assert!(KeyRevision::try_from(10).is_err());
        assert!(KeyType::try_from(4).is_err());
        assert!("256".parse::<KeyExpiry>().is_err());
        assert!("".parse::<KeyExpiry>().is_err());
        assert!(SupplyGroupCode::try_from(1_000_000).is_err());
        assert!("12345".parse::<SupplyGroupCode>().is_err());
        assert!(EncryptionAlgorithm::try_from(8).is_err());
        assert!(Dkga::try_from(0).is_err());
        assert!(BaseDate::try_from(2015).is_err());
    }

    #[test]
    fn key_types_only_move_up_from_the_factory_and_the_default() {
        let all = [KeyType::Ditk, KeyType::Ddtk, KeyType::Dutk, KeyType::Dctk];
        let allowed: Vec<(u8, u8)> = all
            .iter()
            .flat_map(|from| all.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(**to))
            .map(|(from, to)| (from.value(), to.value()))
            .collect();
        let known = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 2), (3, 3)];
        assert_eq!(allowed, known);
    }
}
