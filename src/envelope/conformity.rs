//! What is odd about a configuration, and what forbids issuing from it.
//!
//! The two are apart on purpose: a configuration that is not conforming is stored with its
//! warnings, so that an administrator sees what they have; whether tokens may be issued is another
//! question, and has its own reasons.

use thiserror::Error;

use crate::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyType};
use crate::sts::tid::TidError;

/// Something in an accepted configuration that its administrator should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Warning {
    /// A 64-bit vending key under DKGA04, which takes 160 bits (STS facts §2.5).
    #[error(
        "decoder key generation algorithm 04 takes a vending key of 160 bits, not {bits}: no token can be issued"
    )]
    KeyLength {
        /// The key's length in bits.
        bits: usize,
    },
    /// The base date is still to come: no TID exists before it.
    #[error("the base date {0} is in the future: no token can be issued before it")]
    BaseDateInFuture(BaseDate),
    /// The 24 bits of the TID have run out for this base date (STS facts §4).
    #[error("token identifiers of base date {0} have run out")]
    BaseDateRolledOver(BaseDate),
    /// The key expiry number is past.
    #[error("key expiry number {0} is past: meters refuse tokens under this key")]
    KeyExpired(u8),
    /// A DES vending key without odd parity. It is used as given, never repaired (STS facts §2.2).
    #[error("the vending key has not the odd parity of a DES key; it is used as it is")]
    KeyParity,
    /// An issuer identification number that the standard does not give out.
    #[error("issuer identification numbers other than 600727 and 0000 are unusual")]
    UnusualIin,
    /// DKGA01 is never issued.
    #[error("decoder key generation algorithm 01 would reveal the vending key: no token can be issued")]
    Dkga01,
    /// DKGA02 rests on single DES.
    #[error("decoder key generation algorithm 02 is legacy: it rests on 56-bit DES keys")]
    Dkga02Legacy,
    /// DKGA03 was withdrawn in 2018 and has no public test vector.
    #[error("decoder key generation algorithm 03 was withdrawn in 2018, and no published vector verifies it")]
    Dkga03Withdrawn,
    /// EA09 was withdrawn in 2018.
    #[error("encryption algorithm 09 (DES) was withdrawn in 2018")]
    Ea09Withdrawn,
    /// The decoder key generation algorithm cannot make keys for the encryption algorithm.
    #[error(
        "decoder key generation algorithm {dkga:02} makes no keys for encryption algorithm {ea:02}: no token can be issued"
    )]
    AlgorithmMismatch {
        /// The code of the DKGA.
        dkga: u8,
        /// The code of the EA.
        ea: u8,
    },
    /// Key types 0 and 1 take no credit.
    #[error("key type {0} issues no credit tokens")]
    NoCredit(u8),
}

impl Warning {
    /// UPPER_SNAKE, stable.
    pub fn code(self) -> &'static str {
        match self {
            Self::KeyLength { .. } => "KEY_LENGTH",
            Self::BaseDateInFuture(_) => "BASE_DATE_IN_FUTURE",
            Self::BaseDateRolledOver(_) => "BASE_DATE_ROLLED_OVER",
            Self::KeyExpired(_) => "KEY_EXPIRED",
            Self::KeyParity => "KEY_PARITY",
            Self::UnusualIin => "UNUSUAL_IIN",
            Self::Dkga01 => "DKGA01",
            Self::Dkga02Legacy => "DKGA02_LEGACY",
            Self::Dkga03Withdrawn => "DKGA03_WITHDRAWN",
            Self::Ea09Withdrawn => "EA09_WITHDRAWN",
            Self::AlgorithmMismatch { .. } => "ALGORITHM_MISMATCH",
            Self::NoCredit(_) => "NO_CREDIT",
        }
    }
}

/// Why no token can be issued from a configuration. No setting lifts those that are not
/// [unverified](Self::is_unverified).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unservable {
    /// The vending key has not the length that the DKGA takes.
    #[error("{dkga} takes a vending key of {expected} bytes, not {actual}")]
    KeyLength {
        /// The algorithm.
        dkga: Dkga,
        /// What it takes, in bytes.
        expected: usize,
        /// What the configuration has, in bytes.
        actual: usize,
    },
    /// DKGA01: any call that derives a decoder key returns the vending key (STS facts, decisions).
    #[error("DKGA01 is never issued: its decoder keys reveal the vending key")]
    NeverIssued,
    /// The decoder keys of this DKGA do not fit the encryption algorithm.
    #[error("{dkga} makes no decoder keys for {ea}")]
    AlgorithmMismatch {
        /// How keys are derived.
        dkga: Dkga,
        /// What they should be for.
        ea: EncryptionAlgorithm,
    },
    /// DKGA03 has no public vector.
    #[error("DKGA03 is not verified by any published vector")]
    UnverifiedDkga03,
    /// Key type 3 under DKGA04: sources disagree about the meter number that enters (STS facts
    /// §2.5).
    #[error("key type 3 under DKGA04 is not verified by any published vector, and sources disagree")]
    UnverifiedCommonKey,
}

impl Unservable {
    /// UPPER_SNAKE, stable.
    pub fn code(self) -> &'static str {
        match self {
            Self::KeyLength { .. } => "KEY_LENGTH",
            Self::NeverIssued => "NEVER_ISSUED",
            Self::AlgorithmMismatch { .. } => "ALGORITHM_MISMATCH",
            Self::UnverifiedDkga03 => "UNVERIFIED_DKGA03",
            Self::UnverifiedCommonKey => "UNVERIFIED_COMMON_KEY",
        }
    }

    /// Whether the settings may allow it nevertheless (reason UNVERIFIED_ALGORITHM).
    pub fn is_unverified(self) -> bool {
        matches!(self, Self::UnverifiedDkga03 | Self::UnverifiedCommonKey)
    }
}

/// The facts about a key that the rules need, so that they need not the key.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyFacts {
    pub(super) bytes: usize,
    pub(super) odd_parity: bool,
}

/// All warnings about a configuration, at the time `now` (seconds since 1970).
pub(super) fn warnings(attributes: &Attributes, key: KeyFacts, now: i64) -> Vec<Warning> {
    let Attributes { dkga, ea, base_date, .. } = *attributes;
    let mut warnings = Vec::new();
    if key.bytes != dkga.vending_key_bytes() {
        warnings.push(Warning::KeyLength { bits: key.bytes * 8 });
    }
    match dkga {
        Dkga::Dkga01 => warnings.push(Warning::Dkga01),
        Dkga::Dkga02 => warnings.push(Warning::Dkga02Legacy),
        Dkga::Dkga03 => warnings.push(Warning::Dkga03Withdrawn),
        Dkga::Dkga04 => {}
    }
    if ea == EncryptionAlgorithm::Ea09 {
        warnings.push(Warning::Ea09Withdrawn);
    }
    if !fits(dkga, ea) {
        warnings.push(Warning::AlgorithmMismatch { dkga: dkga.code(), ea: ea.code() });
    }
    if dkga != Dkga::Dkga04 && !key.odd_parity {
        warnings.push(Warning::KeyParity);
    }
    match attributes.kt {
        KeyType::Ditk | KeyType::Ddtk => warnings.push(Warning::NoCredit(attributes.kt.value())),
        // Common keys are for cards, says the standard; but a configuration can name no other
        // carrier than the numeric one, so that a warning would come with each of them.
        KeyType::Dutk | KeyType::Dctk => {}
    }
    match base_date.tid_at(now) {
        Ok(tid) if tid.is_past(attributes.ken) => warnings.push(Warning::KeyExpired(attributes.ken.0)),
        Ok(_) => {}
        Err(TidError::BeforeBaseDate { .. }) => warnings.push(Warning::BaseDateInFuture(base_date)),
        Err(_) => warnings.push(Warning::BaseDateRolledOver(base_date)),
    }
    if !matches!(attributes.iin.as_str(), "600727" | "0000") {
        warnings.push(Warning::UnusualIin);
    }
    warnings
}

/// Whether tokens can be issued with a vending key of `key_bytes` bytes, by what lasts: dates and
/// the settings are checked for each token, not here.
///
/// # Errors
/// Every reason why not.
pub fn servable(attributes: &Attributes, key_bytes: usize) -> Result<(), Vec<Unservable>> {
    let Attributes { dkga, ea, .. } = *attributes;
    let mut reasons = Vec::new();
    if key_bytes != dkga.vending_key_bytes() {
        reasons.push(Unservable::KeyLength { dkga, expected: dkga.vending_key_bytes(), actual: key_bytes });
    }
    if dkga == Dkga::Dkga01 {
        reasons.push(Unservable::NeverIssued);
    }
    if !fits(dkga, ea) {
        reasons.push(Unservable::AlgorithmMismatch { dkga, ea });
    }
    if dkga == Dkga::Dkga03 {
        reasons.push(Unservable::UnverifiedDkga03);
    }
    if dkga == Dkga::Dkga04 && attributes.kt == KeyType::Dctk {
        reasons.push(Unservable::UnverifiedCommonKey);
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// DKGA01 to 03 make 64-bit keys, too short for EA11; DKGA04 names EA07 and EA11 in its message,
/// and nobody defines it for EA09, which was withdrawn when DKGA04 came (STS facts §2.5, §5.2).
pub fn fits(dkga: Dkga, ea: EncryptionAlgorithm) -> bool {
    match ea {
        EncryptionAlgorithm::Ea07 => true,
        EncryptionAlgorithm::Ea09 => dkga != Dkga::Dkga04,
        EncryptionAlgorithm::Ea11 => dkga == Dkga::Dkga04,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sts::attributes::KeyExpiry;

    /// 2026-01-01T00:00Z.
    const NOW: i64 = 1_767_225_600;
    const HMAC: KeyFacts = KeyFacts { bytes: 20, odd_parity: false };
    const DES: KeyFacts = KeyFacts { bytes: 8, odd_parity: true };

    fn good() -> Attributes {
        Attributes::example()
    }

    #[test]
    fn a_conforming_configuration_has_no_warnings() {
        assert_eq!(warnings(&good(), HMAC, NOW), []);
        assert_eq!(servable(&good(), HMAC.bytes), Ok(()));
        let ea11 = Attributes { ea: EncryptionAlgorithm::Ea11, ..good() };
        assert_eq!((warnings(&ea11, HMAC, NOW), servable(&ea11, HMAC.bytes)), (vec![], Ok(())));
    }

    #[test]
    fn each_oddity_has_its_warning() {
        use EncryptionAlgorithm::{Ea07, Ea09, Ea11};
        let with = |change: fn(&mut Attributes)| {
            let mut attributes = good();
            change(&mut attributes);
            attributes
        };
        let des = |dkga, ea| Attributes { dkga, ea, ..good() };
        let odd = KeyFacts { odd_parity: false, ..DES };
        let triple = KeyFacts { bytes: 16, odd_parity: true };
        let cases = [
            (good(), DES, vec![Warning::KeyLength { bits: 64 }]),
            (with(|a| a.kt = KeyType::Ditk), HMAC, vec![Warning::NoCredit(0)]),
            (with(|a| a.kt = KeyType::Ddtk), HMAC, vec![Warning::NoCredit(1)]),
            (with(|a| a.kt = KeyType::Dctk), HMAC, vec![]),
            (with(|a| a.base_date = BaseDate::Y2035), HMAC, vec![Warning::BaseDateInFuture(BaseDate::Y2035)]),
            (
                with(|a| a.base_date = BaseDate::Y1993),
                HMAC,
                vec![Warning::BaseDateRolledOver(BaseDate::Y1993)],
            ),
            (with(|a| a.ken = KeyExpiry(85)), HMAC, vec![Warning::KeyExpired(85)]),
            (with(|a| a.ken = KeyExpiry(97)), HMAC, vec![]),
            (with(|a| a.iin = "123456".parse().unwrap()), HMAC, vec![Warning::UnusualIin]),
            (with(|a| a.iin = "0000".parse().unwrap()), HMAC, vec![]),
            (des(Dkga::Dkga01, Ea07), DES, vec![Warning::Dkga01]),
            (des(Dkga::Dkga02, Ea07), DES, vec![Warning::Dkga02Legacy]),
            (des(Dkga::Dkga02, Ea07), odd, vec![Warning::Dkga02Legacy, Warning::KeyParity]),
            (des(Dkga::Dkga02, Ea09), DES, vec![Warning::Dkga02Legacy, Warning::Ea09Withdrawn]),
            (
                des(Dkga::Dkga02, Ea11),
                DES,
                vec![Warning::Dkga02Legacy, Warning::AlgorithmMismatch { dkga: 2, ea: 11 }],
            ),
            (des(Dkga::Dkga03, Ea07), triple, vec![Warning::Dkga03Withdrawn]),
            (
                des(Dkga::Dkga04, Ea09),
                HMAC,
                vec![Warning::Ea09Withdrawn, Warning::AlgorithmMismatch { dkga: 4, ea: 9 }],
            ),
        ];
        for (attributes, key, expected) in cases {
            assert_eq!(warnings(&attributes, key, NOW), expected, "{attributes:?}");
        }
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        use EncryptionAlgorithm::{Ea07, Ea09, Ea11};
        let length = |dkga, expected, actual| Unservable::KeyLength { dkga, expected, actual };
        let mismatch = |dkga, ea| Unservable::AlgorithmMismatch { dkga, ea };
        let triple = KeyFacts { bytes: 16, odd_parity: true };
        let cases = [
            (Dkga::Dkga04, Ea07, KeyType::Dutk, DES, vec![length(Dkga::Dkga04, 20, 8)]),
            (
                Dkga::Dkga04,
                Ea07,
                KeyType::Dctk,
                DES,
                vec![length(Dkga::Dkga04, 20, 8), Unservable::UnverifiedCommonKey],
            ),
            (Dkga::Dkga04, Ea09, KeyType::Dutk, HMAC, vec![mismatch(Dkga::Dkga04, Ea09)]),
            (Dkga::Dkga03, Ea07, KeyType::Dutk, triple, vec![Unservable::UnverifiedDkga03]),
            (Dkga::Dkga02, Ea11, KeyType::Dutk, DES, vec![mismatch(Dkga::Dkga02, Ea11)]),
            (Dkga::Dkga01, Ea07, KeyType::Dutk, DES, vec![Unservable::NeverIssued]),
            (Dkga::Dkga02, Ea09, KeyType::Dctk, DES, vec![]),
        ];
        for (dkga, ea, kt, key, reasons) in cases {
            let expected = if reasons.is_empty() { Ok(()) } else { Err(reasons) };
            assert_eq!(servable(&Attributes { dkga, ea, kt, ..good() }, key.bytes), expected, "{dkga} {ea}");
        }
        assert!(Unservable::UnverifiedCommonKey.is_unverified() && !Unservable::NeverIssued.is_unverified());
    }
}
