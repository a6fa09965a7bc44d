//! The sections of a key change, as they come in (STS facts §6, step 9).

use zeroize::Zeroizing;

use super::answer::NewKey;
use crate::sts::attributes::{EncryptionAlgorithm, KeyExpiry, SupplyGroupCode};
use crate::sts::cipher::DecoderKey;
use crate::sts::software::OwnedDecoderKey;
use crate::sts::token::key_change::Section;

/// How long a meter keeps sections while others are missing, in seconds. The standard's own figure
/// is not public.
pub const SECTION_TIMEOUT_SECONDS: i64 = 3600;

/// Sections that were entered, one of a kind, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assembly {
    /// When the first of them was, in seconds since 1970-01-01T00:00Z.
    pub(super) started: i64,
    /// At most four, ascending by subclass.
    pub(super) sections: Vec<Section>,
}

/// What sections add up to.
pub(super) enum Progress {
    /// How many are missing, as far as can be told.
    Missing(usize),
    /// A whole key.
    Complete(OwnedDecoderKey, NewKey),
    /// All there, but their supply group code is none.
    Mismatch,
}

impl Assembly {
    /// Takes a section in; one of the same kind replaces the earlier one, all are dropped when time
    /// has run out.
    pub(super) fn add(&mut self, section: Section, now: i64) {
        let waited = now.saturating_sub(self.started);
        if self.sections.is_empty() || !(0..=SECTION_TIMEOUT_SECONDS).contains(&waited) {
            self.sections.clear();
            self.started = now;
        }
        match self.sections.binary_search_by_key(&section.subclass(), Section::subclass) {
            Ok(index) => self.sections[index] = section,
            Err(index) => self.sections.insert(index, section),
        }
    }

    /// What the sections add up to for a meter of this cipher.
    pub(super) fn progress(&self, ea: EncryptionAlgorithm) -> Progress {
        let (mut first, mut second, mut third, mut fourth) = (None, None, None, None);
        for section in &self.sections {
            match section {
                Section::First { .. } => first = Some(section),
                Section::Second { .. } => second = Some(section),
                Section::ThirdOfThree { .. } | Section::ThirdOfFour { .. } => third = Some(section),
                Section::Fourth { .. } => fourth = Some(section),
            }
        }
        let wants_third = match first {
            Some(Section::First { three_tokens, .. }) => *three_tokens,
            _ => third.is_some(),
        };
        let wanted = match (ea.key_bytes(), wants_third) {
            (16, _) => vec![first, second, third, fourth],
            (_, true) => vec![first, second, third],
            (_, false) => vec![first, second],
        };
        match wanted.iter().copied().collect::<Option<Vec<_>>>() {
            Some(sections) => complete(&sections),
            None => Progress::Missing(wanted.iter().filter(|section| section.is_none()).count()),
        }
    }
}

/// Puts together two, three or four sections in the order first, second, third, fourth.
fn complete(sections: &[&Section]) -> Progress {
    let (
        Some(Section::First { ken_high, krn, roll_over, kt, key: high, .. }),
        Some(Section::Second { ken_low, ti, key: low }),
    ) = (sections.first(), sections.get(1))
    else {
        return Progress::Mismatch;
    };
    let (sgc, middle) = match (sections.get(2), sections.get(3)) {
        (Some(Section::ThirdOfThree { sgc }), None) => (Some(*sgc), None),
        (
            Some(Section::ThirdOfFour { sgc_low, key: third }),
            Some(Section::Fourth { sgc_high, key: fourth }),
        ) => {
            let number = u32::from(*sgc_high) << 12 | u32::from(*sgc_low);
            match SupplyGroupCode::try_from(number) {
                Ok(sgc) => (Some(sgc), Some((third, fourth))),
                Err(_) => return Progress::Mismatch,
            }
        }
        (None, None) => (None, None),
        _ => return Progress::Mismatch,
    };
    let mut bytes = Zeroizing::new([0; 16]);
    bytes[..4].copy_from_slice(high.as_bytes());
    let key = match middle {
        // Of a long key, the third section has the second most significant bytes (STS facts §3.8,
        // naming trap).
        Some((third, fourth)) => {
            bytes[4..8].copy_from_slice(third.as_bytes());
            bytes[8..12].copy_from_slice(fourth.as_bytes());
            bytes[12..].copy_from_slice(low.as_bytes());
            DecoderKey::from_slice(&*bytes)
        }
        None => {
            bytes[4..8].copy_from_slice(low.as_bytes());
            DecoderKey::from_slice(&bytes[..8])
        }
    };
    let new = NewKey {
        kt: *kt,
        krn: *krn,
        ti: *ti,
        ken: KeyExpiry(ken_high << 4 | ken_low & 0xF),
        sgc,
        roll_over: *roll_over,
    };
    match key {
        Some(key) => Progress::Complete(OwnedDecoderKey::new(key), new),
        None => Progress::Mismatch,
    }
}
