//! Which key changes are made at all (STS facts §3.8, §4, §7).

use super::set::{KeyChange, SetShape};
use crate::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyType};
use crate::sts::meter::Iin;
use crate::sts::tid::TidError;

/// Why a meter is not carried from one key to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeRefusal {
    /// Keys of two issuers.
    #[error("the keys belong to two issuers, {current} and {new}")]
    OtherIin {
        /// Of the current key.
        current: Iin,
        /// Of the new key.
        new: Iin,
    },
    /// A meter cannot change its cipher by token.
    #[error("the keys are for two ciphers, {current} and {new}")]
    OtherEa {
        /// Of the current key.
        current: EncryptionAlgorithm,
        /// Of the new key.
        new: EncryptionAlgorithm,
    },
    /// A key change keeps the derivation.
    #[error("the keys are derived in two ways, {current} and {new}")]
    OtherDkga {
        /// Of the current key.
        current: Dkga,
        /// Of the new key.
        new: Dkga,
    },
    /// The TIDs of the new key would lie behind those that the meter has seen.
    #[error("the new base date {new} is before the current one, {current}")]
    EarlierBaseDate {
        /// Of the current key.
        current: BaseDate,
        /// Of the new key.
        new: BaseDate,
    },
    /// Back to the factory, back to the default, or between unique and common.
    #[error("a key of type {current} does not become one of type {new}")]
    KeyType {
        /// Of the current key.
        current: KeyType,
        /// Of the new key.
        new: KeyType,
    },
    /// A change from an expired key is allowed, but not to another expired one.
    #[error("both keys have expired")]
    BothExpired,
}

impl KeyChange {
    /// The set that carries a meter from `current` to `new`; both keys are derived for the same
    /// meter. `transfer_sgc` asks for the third token of a 64-bit key; a 128-bit key takes four in
    /// any case. `now` is in seconds since 1970-01-01T00:00Z.
    ///
    /// RO is set when the base date changes. That both decoder keys differ then, only
    /// [`KeyChange::tokens`] can see.
    ///
    /// # Errors
    /// [`KeyChangeRefusal`], the first that applies in the order of its variants.
    pub fn plan(
        current: &Attributes,
        new: &Attributes,
        transfer_sgc: bool,
        now: i64,
    ) -> Result<Self, KeyChangeRefusal> {
        if current.iin != new.iin {
            return Err(KeyChangeRefusal::OtherIin { current: current.iin, new: new.iin });
        }
        if current.ea != new.ea {
            return Err(KeyChangeRefusal::OtherEa { current: current.ea, new: new.ea });
        }
        if current.dkga != new.dkga {
            return Err(KeyChangeRefusal::OtherDkga { current: current.dkga, new: new.dkga });
        }
        if new.base_date < current.base_date {
            return Err(KeyChangeRefusal::EarlierBaseDate { current: current.base_date, new: new.base_date });
        }
        if !current.kt.may_become(new.kt) {
            return Err(KeyChangeRefusal::KeyType { current: current.kt, new: new.kt });
        }
        if current.has_expired(now) && new.has_expired(now) {
            return Err(KeyChangeRefusal::BothExpired);
        }
        Ok(Self::carrying(new, transfer_sgc, new.base_date != current.base_date))
    }

    /// What a set to the key of these attributes carries. No rule is applied here;
    /// [`KeyChange::plan`] holds those.
    pub fn carrying(new: &Attributes, transfer_sgc: bool, roll_over: bool) -> Self {
        Self {
            ea: new.ea,
            shape: SetShape::new(new.ea, transfer_sgc),
            ken: new.ken,
            krn: new.krn,
            kt: new.kt,
            ti: new.ti,
            sgc: new.sgc,
            roll_over,
        }
    }
}

impl Attributes {
    /// Whether the key serves no more at this second (since 1970-01-01T00:00Z): its KEN or the 24
    /// bits of its TIDs have run out. A key whose base date is yet to come has not expired.
    pub fn has_expired(&self, unix_seconds: i64) -> bool {
        match self.base_date.tid_at(unix_seconds) {
            Ok(tid) => tid.is_past(self.ken),
            Err(TidError::PastRollover { .. }) => true,
            Err(TidError::BeforeBaseDate { .. } | TidError::TooLarge(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sts::attributes::KeyExpiry;
    use crate::sts::cipher::DecoderKey;
    use crate::sts::token::key_change::{KeyChangeError, Section};

    /// 2026-04-01T00:00Z.
    const NOW: i64 = 1_775_001_600;

    fn attributes(ea: EncryptionAlgorithm) -> Attributes {
        Attributes { ea, ..Attributes::example() }
    }

    #[test]
    fn refusals() {
        let current = attributes(EncryptionAlgorithm::Ea07);
        let plan = |new: Attributes| KeyChange::plan(&current, &new, false, NOW).unwrap_err();
        let iin: Iin = "0000".parse().unwrap();
        assert_eq!(
            plan(Attributes { iin, ..current }),
            KeyChangeRefusal::OtherIin { current: current.iin, new: iin }
        );
        let ea = EncryptionAlgorithm::Ea11;
        assert_eq!(
            plan(Attributes { ea, ..current }),
            KeyChangeRefusal::OtherEa { current: EncryptionAlgorithm::Ea07, new: ea }
        );
        let dkga = Dkga::Dkga02;
        assert_eq!(
            plan(Attributes { dkga, ..current }),
            KeyChangeRefusal::OtherDkga { current: Dkga::Dkga04, new: dkga }
        );
        let base_date = BaseDate::Y1993;
        assert_eq!(
            plan(Attributes { base_date, ..current }),
            KeyChangeRefusal::EarlierBaseDate { current: BaseDate::Y2014, new: base_date }
        );
        let kt = KeyType::Dctk;
        assert_eq!(
            plan(Attributes { kt, ..current }),
            KeyChangeRefusal::KeyType { current: KeyType::Dutk, new: kt }
        );
    }

    /// STS 531 CTSA16: refused when both keys are expired, made when only the current one is.
    #[test]
    fn expired_keys() {
        let now = 1_982_476_800; // 2032-10-27T08:00Z
        let expired = Attributes { ken: KeyExpiry(85), ..attributes(EncryptionAlgorithm::Ea07) };
        let valid = attributes(EncryptionAlgorithm::Ea07);
        assert_eq!(KeyChange::plan(&expired, &expired, false, now), Err(KeyChangeRefusal::BothExpired));
        assert!(KeyChange::plan(&expired, &valid, false, now).is_ok());
        let future = Attributes { base_date: BaseDate::Y2035, ken: KeyExpiry(0), ..valid };
        assert!(!future.has_expired(now));
        let past = Attributes { base_date: BaseDate::Y1993, ..valid };
        assert!(past.has_expired(now));
    }

    /// Defect 5 of the public peer (STS facts §8, §3.8): it takes KEN, KRN, KT and TI from the
    /// current key, swaps the nibbles of KEN, and makes two tokens whatever the key's length.
    #[test]
    fn peer_defect_5_the_fields_are_the_new_keys() {
        let current = Attributes { kt: KeyType::Ddtk, ..attributes(EncryptionAlgorithm::Ea11) };
        let new = Attributes {
            ken: KeyExpiry(0xA5),
            krn: "7".parse().unwrap(),
            ti: "99".parse().unwrap(),
            kt: KeyType::Dutk,
            sgc: "123461".parse().unwrap(),
            ..current
        };
        let plan = KeyChange::plan(&current, &new, false, NOW).unwrap();
        let key: [u8; 16] = std::array::from_fn(|index| index as u8);
        let sections = plan.sections(DecoderKey::Bits128(&key)).unwrap();
        let blocks: Vec<u64> = sections.iter().map(|section| section.block().bits() >> 16).collect();
        let sgc = 123_461;
        assert_eq!(
            blocks,
            [
                0x3A72_0001_0203,
                0x4563_0C0D_0E0F,
                0x8000_0405_0607 | (sgc & 0xFFF) << 32,
                0x9000_0809_0A0B | (sgc >> 12) << 32,
            ]
        );
    }

    #[test]
    fn three_tokens_say_so_in_the_first() {
        let current = attributes(EncryptionAlgorithm::Ea07);
        for (transfer_sgc, tokens) in [(false, 2), (true, 3)] {
            let plan = KeyChange::plan(&current, &current, transfer_sgc, NOW).unwrap();
            let sections = plan.sections(DecoderKey::Bits64(&[1; 8])).unwrap();
            assert_eq!((sections.len(), plan.shape.tokens()), (tokens, tokens));
            assert!(
                matches!(sections[0], Section::First { three_tokens, .. } if three_tokens == transfer_sgc)
            );
        }
    }

    #[test]
    fn roll_over_wants_another_key() {
        let current = attributes(EncryptionAlgorithm::Ea07);
        let new = Attributes { base_date: BaseDate::Y2035, ..current };
        let plan = KeyChange::plan(&current, &new, false, NOW).unwrap();
        assert!(plan.roll_over);
        let (one, other) = ([1; 8], [2; 8]);
        let (one, other) = (DecoderKey::Bits64(&one), DecoderKey::Bits64(&other));
        assert_eq!(plan.tokens(one, one), Err(KeyChangeError::RevivesOldTokens));
        assert_eq!(plan.tokens(one, other).map(|tokens| tokens.len()), Ok(2));
        assert!(plan.tokens(one, DecoderKey::Bits128(&[2; 16])).is_err());
    }
}
