//! EA11: MISTY1 (RFC 2994), 64-bit block, 128-bit key, 8 rounds (STS facts §5.3).
//!
//! Table lookups depend on key and data, as in every MISTY1 by tables.

use std::fmt;

use ::cipher::consts::U16;
use ::cipher::{AlgorithmName, Key, KeyInit, KeySizeUser};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::impl_block_cipher;
use super::misty1_tables::{S7, S9};

/// EA11 with its key.
#[derive(Clone)]
pub struct Ea11 {
    /// K1..K8 of the RFC, the key as big-endian words.
    k: [u16; 8],
    /// K'1..K'8 of the RFC, each FI of two neighbours.
    k_prime: [u16; 8],
}

impl KeySizeUser for Ea11 {
    type KeySize = U16;
}

impl KeyInit for Ea11 {
    fn new(key: &Key<Self>) -> Self {
        let k: [u16; 8] = std::array::from_fn(|word| u16::from_be_bytes([key[2 * word], key[2 * word + 1]]));
        let k_prime = std::array::from_fn(|word| fi(k[word], k[(word + 1) % 8]));
        Self { k, k_prime }
    }
}

impl_block_cipher!(Ea11);

impl AlgorithmName for Ea11 {
    fn write_alg_name(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EA11")
    }
}

impl fmt::Debug for Ea11 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ea11 { ... }")
    }
}

impl Drop for Ea11 {
    fn drop(&mut self) {
        self.k.zeroize();
        self.k_prime.zeroize();
    }
}

impl ZeroizeOnDrop for Ea11 {}

impl Ea11 {
    /// The encrypted block (RFC 2994, section 2.1): rounds in pairs, FL before each pair and after
    /// the last.
    pub(super) fn encrypt(&self, block: u64) -> u64 {
        let (mut left, mut right) = halves(block);
        for round in [1, 3, 5, 7] {
            left = self.fl(left, round);
            right = self.fl(right, round + 1);
            right ^= self.fo(left, round);
            left ^= self.fo(right, round + 1);
        }
        join(self.fl(right, 10), self.fl(left, 9))
    }

    /// The decrypted block: the same steps backwards.
    pub(super) fn decrypt(&self, block: u64) -> u64 {
        let (right, left) = halves(block);
        let mut left = self.fl_inverse(left, 9);
        let mut right = self.fl_inverse(right, 10);
        for round in [7, 5, 3, 1] {
            left ^= self.fo(right, round + 1);
            right ^= self.fo(left, round);
            left = self.fl_inverse(left, round);
            right = self.fl_inverse(right, round + 1);
        }
        join(left, right)
    }

    /// Kn of the RFC, counted from 1 and modulo 8.
    fn k(&self, n: usize) -> u32 {
        u32::from(self.k[(n - 1) % 8])
    }

    /// K'n of the RFC, counted from 1 and modulo 8.
    fn k_prime(&self, n: usize) -> u32 {
        u32::from(self.k_prime[(n - 1) % 8])
    }

    /// The function FO of round `i`.
    fn fo(&self, input: u32, i: usize) -> u32 {
        let step = |half: u32, k: u32, k_prime: u32| u32::from(fi((half ^ k) as u16, k_prime as u16));
        let (mut t0, mut t1) = (input >> 16, input & 0xFFFF);
        t0 = step(t0, self.k(i), self.k_prime(i + 5)) ^ t1;
        t1 = step(t1, self.k(i + 2), self.k_prime(i + 1)) ^ t0;
        t0 = step(t0, self.k(i + 7), self.k_prime(i + 3)) ^ t1;
        t1 ^= self.k(i + 4);
        t1 << 16 | t0
    }

    /// The keys of the function FL of round `i`: what is and-ed, what is or-ed.
    fn fl_keys(&self, i: usize) -> (u32, u32) {
        let j = i.div_ceil(2);
        if i % 2 == 1 { (self.k(j), self.k_prime(j + 6)) } else { (self.k_prime(j + 2), self.k(j + 4)) }
    }

    /// The function FL of round `i`.
    fn fl(&self, input: u32, i: usize) -> u32 {
        let (and, or) = self.fl_keys(i);
        let (d0, d1) = (input >> 16, input & 0xFFFF);
        let d1 = d1 ^ d0 & and;
        (d0 ^ (d1 | or)) << 16 | d1
    }

    /// The inverse of FL of round `i`.
    fn fl_inverse(&self, input: u32, i: usize) -> u32 {
        let (and, or) = self.fl_keys(i);
        let (d0, d1) = (input >> 16, input & 0xFFFF);
        let d0 = d0 ^ (d1 | or);
        d0 << 16 | d1 ^ d0 & and
    }
}

/// The function FI, on 16 bits.
fn fi(input: u16, key: u16) -> u16 {
    let (mut d9, mut d7) = (input >> 7, input & 0x7F);
    d9 = S9[usize::from(d9)] ^ d7;
    d7 = u16::from(S7[usize::from(d7)]) ^ d9 & 0x7F;
    d7 ^= key >> 9;
    d9 ^= key & 0x1FF;
    d9 = S9[usize::from(d9)] ^ d7;
    d7 << 9 | d9
}

fn halves(block: u64) -> (u32, u32) {
    ((block >> 32) as u32, block as u32)
}

fn join(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cipher(key: u128) -> Ea11 {
        Ea11::new(&key.to_be_bytes().into())
    }

    /// RFC 2994, appendix A.
    #[test]
    fn published_blocks() {
        let cipher = cipher(0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF);
        for (block, encrypted) in
            [(0x0123_4567_89AB_CDEF, 0x8B1D_A5F5_6AB3_D07C), (0xFEDC_BA98_7654_3210, 0x04B6_8240_B13B_E95D)]
        {
            assert_eq!(cipher.encrypt(block), encrypted);
            assert_eq!(cipher.decrypt(encrypted), block);
        }
        assert_eq!(format!("{cipher:?}"), "Ea11 { ... }");
    }

    proptest! {
        #[test]
        fn decryption_inverts(key: u128, block: u64) {
            let cipher = cipher(key);
            prop_assert_eq!(cipher.decrypt(cipher.encrypt(block)), block);
        }
    }
}
