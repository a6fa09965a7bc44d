//! EA07, the standard transfer algorithm (STA): 64-bit block, 64-bit key, 16 rounds (STS facts
//! §5.1).
//!
//! Table lookups depend on key and data, so their timing may tell about them to who shares the
//! processor; the tables of one direction span 4 KiB and stay in the first-level cache.

use std::fmt;

use ::cipher::consts::U8;
use ::cipher::{AlgorithmName, Key, KeyInit, KeySizeUser};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::ea07_tables::{Boxes, OPERATIONAL, SAMPLE};
use super::impl_block_cipher;

/// EA07 with its key.
#[derive(Clone)]
pub struct Ea07 {
    key: u64,
    tables: &'static Tables,
}

impl KeySizeUser for Ea07 {
    type KeySize = U8;
}

impl KeyInit for Ea07 {
    fn new(key: &Key<Self>) -> Self {
        Self { key: u64::from_be_bytes((*key).into()), tables: &OPERATIONAL_TABLES }
    }
}

impl_block_cipher!(Ea07);

impl AlgorithmName for Ea07 {
    fn write_alg_name(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EA07")
    }
}

impl fmt::Debug for Ea07 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ea07 { ... }")
    }
}

impl Drop for Ea07 {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl ZeroizeOnDrop for Ea07 {}

impl Ea07 {
    /// With the sample tables that the standard prints: for its examples, no meter understands it.
    pub fn with_sample_tables(key: &[u8; 8]) -> Self {
        Self { key: u64::from_be_bytes(*key), tables: &SAMPLE_TABLES }
    }

    /// The encrypted block.
    pub(crate) fn encrypt(&self, block: u64) -> u64 {
        let mut state = block;
        // The key bit of nibble n is bit 4n + 3 of ror(!key, 12); shifted by 3 more it is bit 4n.
        let mut key = (!self.key).rotate_right(15);
        for _ in 0..ROUNDS {
            let mut next = 0;
            for (nibble, table) in self.tables.round.iter().enumerate() {
                let shift = 4 * nibble;
                next |= table[(state >> shift & 15 | (key >> shift & 1) << 4) as usize];
            }
            state = next;
            key = key.rotate_left(1);
        }
        state
    }

    /// The decrypted block.
    pub(crate) fn decrypt(&self, block: u64) -> u64 {
        let mut state = block;
        let mut key = self.key;
        for _ in 0..ROUNDS {
            let mut moved = 0;
            for (nibble, table) in self.tables.move_back.iter().enumerate() {
                moved |= table[(state >> (4 * nibble) & 15) as usize];
            }
            state = 0;
            for nibble in 0..16 {
                let shift = 4 * nibble;
                let index = moved >> shift & 15 | (key >> shift & 1) << 4;
                state |= u64::from(self.tables.substitute_back[index as usize]) << shift;
            }
            key = key.rotate_right(1);
        }
        state
    }
}

const ROUNDS: usize = 16;

/// The boxes merged for speed.
struct Tables {
    /// Per nibble: key bit (bit 4) and value (bits 3..0) to the substituted nibble's bits, each
    /// where it moves to.
    round: [[u64; 32]; 16],
    /// Per nibble: its bits, each where it came from.
    move_back: [[u64; 16]; 16],
    /// Key bit (bit 4) and value to the nibble before substitution. The complement of the key is
    /// absorbed: key bit 0 inverts the second row of S.
    substitute_back: [u8; 32],
}

static OPERATIONAL_TABLES: Tables = Tables::merge(&OPERATIONAL);
static SAMPLE_TABLES: Tables = Tables::merge(&SAMPLE);

impl Tables {
    const fn merge(boxes: &Boxes) -> Self {
        let mut back = [0; 64];
        let mut bit = 0;
        while bit < 64 {
            back[boxes.p[bit] as usize] = bit as u8;
            bit += 1;
        }
        let mut tables = Self { round: [[0; 32]; 16], move_back: [[0; 16]; 16], substitute_back: [0; 32] };
        let mut nibble = 0;
        while nibble < 16 {
            let mut value = 0;
            while value < 16 {
                tables.round[nibble][value] = scatter(boxes.s[0][value], nibble, &boxes.p);
                tables.round[nibble][value + 16] = scatter(boxes.s[1][value], nibble, &boxes.p);
                tables.move_back[nibble][value] = scatter(value as u8, nibble, &back);
                tables.substitute_back[boxes.s[1][value] as usize] = value as u8;
                tables.substitute_back[boxes.s[0][value] as usize + 16] = value as u8;
                value += 1;
            }
            nibble += 1;
        }
        tables
    }
}

/// The four bits of the nibble at this place, each moved to where `destination` says.
const fn scatter(value: u8, nibble: usize, destination: &[u8; 64]) -> u64 {
    let mut moved = 0;
    let mut bit = 0;
    while bit < 4 {
        moved |= ((value >> bit & 1) as u64) << destination[4 * nibble + bit];
        bit += 1;
    }
    moved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The worked block of STS facts §5.1.
    const KEY: u64 = 0x0ABC_12DE_F345_6789;
    const BLOCK: u64 = 0x0B19_EB23_0100_C207;

    fn operational(key: u64) -> Ea07 {
        Ea07::new(&key.to_be_bytes().into())
    }

    #[test]
    fn worked_block() {
        assert_eq!(operational(KEY).encrypt(BLOCK), 0x9335_C6C9_6B73_52DC);
        assert_eq!(operational(KEY).decrypt(0x9335_C6C9_6B73_52DC), BLOCK);
    }

    /// Computed with the standard's sample tables (STS facts §5.1; no published figure).
    #[test]
    fn worked_block_with_sample_tables() {
        let sample = Ea07::with_sample_tables(&KEY.to_be_bytes());
        assert_eq!(sample.encrypt(BLOCK), 0xC45E_D161_9406_DF95);
        assert_eq!(sample.decrypt(0xC45E_D161_9406_DF95), BLOCK);
    }

    /// The algorithm as it is written down, bit by bit: what the merged tables are compared with.
    fn plain_encrypt(boxes: &Boxes, key: u64, block: u64) -> u64 {
        let mut state = block;
        let mut c = (!key).rotate_right(12);
        for _ in 0..ROUNDS {
            let substituted = (0..16).fold(0_u64, |all, nibble| {
                let row = (c >> (4 * nibble + 3) & 1) as usize;
                all | u64::from(boxes.s[row][(state >> (4 * nibble) & 15) as usize]) << (4 * nibble)
            });
            state = (0..64).fold(0, |all, bit| all | (substituted >> bit & 1) << boxes.p[bit]);
            c = c.rotate_left(1);
        }
        state
    }

    proptest! {
        #[test]
        fn merged_tables_equal_the_plain_form_and_invert(key: u64, block: u64) {
            for (cipher, boxes) in [
                (operational(key), &OPERATIONAL),
                (Ea07::with_sample_tables(&key.to_be_bytes()), &SAMPLE),
            ] {
                let encrypted = cipher.encrypt(block);
                prop_assert_eq!(encrypted, plain_encrypt(boxes, key, block));
                prop_assert_eq!(cipher.decrypt(encrypted), block);
            }
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", operational(KEY)), "Ea07 { ... }");
    }
}
