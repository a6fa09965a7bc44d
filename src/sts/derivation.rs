//! What to derive, as data (STS facts §2): the border between the standard and whoever holds the
//! vending key.
//!
//! A [`Derivation`] holds nothing secret. An HSM can do many of them in one call.

use std::fmt;

use super::attributes::{
    Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyRevision, KeyType, SupplyGroupCode, TariffIndex,
};
use super::meter::MeterPan;

/// Length of the message of DKGA04, in bytes: a label of 13, a zero, a context of 31, four of L.
pub const DKGA04_MESSAGE_BYTES: usize = 49;

/// Why no key can be derived for these attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DerivationError {
    /// DKGA01 encrypts the vending key under public data: whoever gets the result of that step has
    /// the vending key.
    #[error("DKGA01 is never issued: its only secret step would give the vending key away")]
    Dkga01,
    /// The algorithm does not give a key of the length that the cipher wants, or the standard has
    /// no such pair.
    #[error("{dkga} gives no key for {ea}")]
    Pair {
        /// The decoder key generation algorithm.
        dkga: Dkga,
        /// The encryption algorithm.
        ea: EncryptionAlgorithm,
    },
    /// The meter belongs to another issuer than the configuration.
    #[error("the meter's IIN is not the configuration's")]
    OtherIin,
}

/// How many leading bits of the MAC are the decoder key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyBits {
    /// 64 (EA07).
    Bits64,
    /// 128 (EA11).
    Bits128,
}

impl KeyBits {
    /// The key's length in bytes, 8 or 16.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bits64 => 8,
            Self::Bits128 => 16,
        }
    }
}

/// One decoder key to derive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// `DES(VK, B) xor B xor VK`, 64 bits.
    Dkga02 {
        /// B = PANBLOCK xor CONTROLBLOCK, most significant byte first.
        block: [u8; 8],
    },
    /// `E(K1, D(K2, E(K1, B))) xor B`, 64 bits, VK = K1 then K2.
    Dkga03 {
        /// B = PANBLOCK xor CONTROLBLOCK, most significant byte first.
        block: [u8; 8],
    },
    /// The first bits of `HMAC-SHA-256(VK, message)`.
    Dkga04 {
        /// The whole message.
        message: [u8; DKGA04_MESSAGE_BYTES],
        /// How much of the MAC is the key.
        bits: KeyBits,
    },
}

impl fmt::Debug for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dkga02 { block } => write!(f, "Dkga02({})", hex::encode(block)),
            Self::Dkga03 { block } => write!(f, "Dkga03({})", hex::encode(block)),
            Self::Dkga04 { message, bits } => write!(f, "Dkga04({}, {bits:?})", hex::encode(message)),
        }
    }
}

impl Derivation {
    /// What to derive for this meter.
    ///
    /// # Errors
    /// [`DerivationError`]: DKGA01; a pair of algorithms that does not go together; a meter of
    /// another issuer.
    pub fn new(attributes: &Attributes, meter: &MeterPan) -> Result<Self, DerivationError> {
        let Attributes { dkga, ea, .. } = *attributes;
        if meter.iin() != attributes.iin {
            return Err(DerivationError::OtherIin);
        }
        match (dkga, ea) {
            (Dkga::Dkga01, _) => Err(DerivationError::Dkga01),
            (Dkga::Dkga02, EncryptionAlgorithm::Ea07 | EncryptionAlgorithm::Ea09) => {
                Ok(Self::Dkga02 { block: des_block(attributes, meter) })
            }
            (Dkga::Dkga03, EncryptionAlgorithm::Ea07 | EncryptionAlgorithm::Ea09) => {
                Ok(Self::Dkga03 { block: des_block(attributes, meter) })
            }
            (Dkga::Dkga04, EncryptionAlgorithm::Ea07) => Ok(Self::dkga04(attributes, meter, KeyBits::Bits64)),
            (Dkga::Dkga04, EncryptionAlgorithm::Ea11) => {
                Ok(Self::dkga04(attributes, meter, KeyBits::Bits128))
            }
            (Dkga::Dkga02 | Dkga::Dkga03, EncryptionAlgorithm::Ea11)
            | (Dkga::Dkga04, EncryptionAlgorithm::Ea09) => Err(DerivationError::Pair { dkga, ea }),
        }
    }

    /// The decoder key's length in bytes, 8 or 16.
    pub fn key_bytes(&self) -> usize {
        match self {
            Self::Dkga02 { .. } | Self::Dkga03 { .. } => 8,
            Self::Dkga04 { bits, .. } => bits.bytes(),
        }
    }

    fn dkga04(attributes: &Attributes, meter: &MeterPan, bits: KeyBits) -> Self {
        let digits = DerivationDigits {
            iin_digits: meter.iin().as_str().len(),
            pan: meter.as_str(),
            sgc: attributes.sgc.value(),
            ti: attributes.ti.value(),
            krn: attributes.krn.value(),
            kt: attributes.kt,
            ea: attributes.ea,
            base_date: attributes.base_date,
        };
        Self::Dkga04 { message: digits.message(bits), bits }
    }
}

/// What enters a derivation, as bare digits: below the rules of [`MeterPan`] and [`Attributes`],
/// for the conformance runner.
#[derive(Clone, Copy, Debug)]
pub struct DerivationDigits<'a> {
    /// The 18 digits of a MeterPAN, its check digits as they are.
    pub pan: &'a str,
    /// How many of them are the issuer's: KT 3 zeroes the others.
    pub iin_digits: usize,
    /// Supply group, 0..=999999.
    pub sgc: u32,
    /// Tariff index, 0..=99.
    pub ti: u8,
    /// Key revision number, 0..=9.
    pub krn: u8,
    /// Key type.
    pub kt: KeyType,
    /// The cipher; DKGA02 and DKGA03 do without.
    pub ea: EncryptionAlgorithm,
    /// The base date; DKGA02 and DKGA03 do without.
    pub base_date: BaseDate,
}

impl DerivationDigits<'_> {
    /// B = PANBLOCK xor CONTROLBLOCK; `None` when a field is out of its range.
    pub fn des_block(&self) -> Option<[u8; 8]> {
        let control = control_block_of_digits(self.kt, self.sgc, self.ti, self.krn)?;
        self.has_pan().then(|| {
            let pan = pan_block(self.pan.as_bytes(), self.iin_digits, self.kt);
            std::array::from_fn(|index| pan[index] ^ control[index])
        })
    }

    /// The derivation of DKGA04, also for EA09, whose 64-bit key the standard does not name with
    /// it; `None` when a field is out of its range.
    pub fn dkga04(&self) -> Option<Derivation> {
        let bits = match self.ea.key_bytes() {
            8 => KeyBits::Bits64,
            _ => KeyBits::Bits128,
        };
        let fits = self.has_pan() && self.sgc <= 999_999 && self.ti <= 99 && self.krn <= 9;
        fits.then(|| Derivation::Dkga04 { message: self.message(bits), bits })
    }

    fn has_pan(&self) -> bool {
        self.pan.len() == 18 && self.pan.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// The message of DKGA04 (STS facts §2.5): SP 800-108 style, "label, 00, context, L", of
    /// counted, length-prefixed ASCII items. Every field is in its range, so the items fill it.
    fn message(&self, bits: KeyBits) -> [u8; DKGA04_MESSAGE_BYTES] {
        let mut message = Message { bytes: [0; DKGA04_MESSAGE_BYTES], len: 0 };
        message.count(4);
        message.item("04");
        message.item(match self.base_date {
            BaseDate::Y1993 => "93",
            BaseDate::Y2014 => "14",
            BaseDate::Y2035 => "35",
        });
        message.item(match self.ea {
            EncryptionAlgorithm::Ea07 => "07",
            EncryptionAlgorithm::Ea09 => "09",
            EncryptionAlgorithm::Ea11 => "11",
        });
        message.item(&format!("{:02}", self.ti));
        message.count(0);
        message.count(4);
        message.item(&format!("{:06}", self.sgc));
        message.item(&self.kt.to_string());
        message.item(&self.krn.to_string());
        message.item(self.pan);
        // L, the key's length in bits, four bytes big endian.
        message.bytes[DKGA04_MESSAGE_BYTES - 1] = match bits {
            KeyBits::Bits64 => 0x40,
            KeyBits::Bits128 => 0x80,
        };
        message.bytes
    }
}

/// The message of DKGA04 while it is written. The items have fixed lengths, 45 bytes in all, before
/// the four of L.
struct Message {
    bytes: [u8; DKGA04_MESSAGE_BYTES],
    len: usize,
}

impl Message {
    fn count(&mut self, count: u8) {
        self.bytes[self.len] = count;
        self.len += 1;
    }

    fn item(&mut self, text: &str) {
        self.count(text.len() as u8);
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text.as_bytes());
        self.len += text.len();
    }
}

/// B = PANBLOCK xor CONTROLBLOCK of DKGA01, DKGA02 and DKGA03 (STS facts §2.1), most significant
/// byte first.
pub fn des_block(attributes: &Attributes, meter: &MeterPan) -> [u8; 8] {
    let control = control_block(attributes.kt, attributes.sgc, attributes.ti, attributes.krn);
    let pan = pan_block(meter.as_str().as_bytes(), meter.iin().as_str().len(), attributes.kt);
    std::array::from_fn(|index| pan[index] ^ control[index])
}

/// PANBLOCK of digit strings that need not be a valid meter number, for the conformance runner: IIN
/// and IAIN are 17 digits together. `None` otherwise.
pub fn pan_block_of_digits(iin: &str, iain: &str, kt: KeyType) -> Option<[u8; 8]> {
    let digits = format!("{iin}{iain}");
    let well_formed = digits.len() == 17 && digits.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| pan_block(digits.as_bytes(), iin.len(), kt))
}

/// PANBLOCK: digits 2 to 17 of the MeterPAN as 16 nibbles; a common key (KT 3) has zeros for the
/// meter's own digits. `pan` holds 17 ASCII digits at least, the first `iin_digits` of them the
/// issuer's.
fn pan_block(pan: &[u8], iin_digits: usize, kt: KeyType) -> [u8; 8] {
    let nibble = |index: usize| {
        if kt == KeyType::Dctk && index >= iin_digits { 0 } else { pan[index] - b'0' }
    };
    std::array::from_fn(|byte| nibble(2 * byte + 1) << 4 | nibble(2 * byte + 2))
}

/// CONTROLBLOCK: KT, SGC, TI and KRN as decimal nibbles, then six of F.
pub fn control_block(kt: KeyType, sgc: SupplyGroupCode, ti: TariffIndex, krn: KeyRevision) -> [u8; 8] {
    control_nibbles(kt, sgc.value(), ti.value(), krn.value())
}

/// [`control_block`] of numbers, for the conformance runner: KRN 0 too. `None` when one has too
/// many digits.
pub fn control_block_of_digits(kt: KeyType, sgc: u32, ti: u8, krn: u8) -> Option<[u8; 8]> {
    (sgc <= 999_999 && ti <= 99 && krn <= 9).then(|| control_nibbles(kt, sgc, ti, krn))
}

/// `sgc` has six digits at most, `ti` two, `krn` one.
fn control_nibbles(kt: KeyType, sgc: u32, ti: u8, krn: u8) -> [u8; 8] {
    let ti = u64::from(ti);
    let digits = (0..6)
        .fold(0_u64, |block, index| block | u64::from(sgc / 10_u32.pow(index) % 10) << (36 + 4 * index));
    let block = u64::from(kt.value()) << 60
        | digits
        | (ti / 10) << 32
        | (ti % 10) << 28
        | u64::from(krn) << 24
        | 0xFF_FFFF;
    block.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(dkga: Dkga, ea: EncryptionAlgorithm, kt: u8) -> Attributes {
        Attributes { kt: kt.try_into().unwrap(), ea, dkga, ..Attributes::example() }
    }

    #[test]
    fn published_blocks() {
        let ddtk = attributes(Dkga::Dkga02, EncryptionAlgorithm::Ea07, 1);
        assert_eq!(hex::encode(control_block(ddtk.kt, ddtk.sgc, ddtk.ti, ddtk.krn)), "1123456011ffffff");
        let block =
            |iin, iain, kt: u8| pan_block_of_digits(iin, iain, kt.try_into().unwrap()).map(hex::encode);
        assert_eq!(block("600727", "12345678901", 2).unwrap(), "0072712345678901");
        assert_eq!(block("600727", "12345678901", 3).unwrap(), "0072700000000000");
        assert_eq!(block("0000", "0100000000008", 2).unwrap(), "0000100000000008");
        assert_eq!(block("0000", "0100000000008", 3).unwrap(), "0000000000000000");
        assert_eq!(block("600727", "123", 2), None);
        assert_eq!(block("60072x", "12345678901", 2), None);
    }

    #[test]
    fn the_message_of_dkga04_byte_by_byte() {
        let meter = "600727000000000009".parse().unwrap();
        let derivation =
            Derivation::new(&attributes(Dkga::Dkga04, EncryptionAlgorithm::Ea11, 2), &meter).unwrap();
        let Derivation::Dkga04 { message, bits } = derivation else { panic!("{derivation:?}") };
        let mut expected = b"\x04\x0204\x0214\x0211\x0201\x00\x04\x06123456\x012\x011\x12".to_vec();
        expected.extend_from_slice(b"600727000000000009\x00\x00\x00\x80");
        assert_eq!((message.to_vec(), bits), (expected, KeyBits::Bits128));
    }

    #[test]
    fn pairs_that_do_not_go_together() {
        use EncryptionAlgorithm::{Ea07, Ea09, Ea11};
        let meter = "600727000000000009".parse().unwrap();
        for (dkga, ea) in [(Dkga::Dkga02, Ea11), (Dkga::Dkga03, Ea11), (Dkga::Dkga04, Ea09)] {
            assert_eq!(
                Derivation::new(&attributes(dkga, ea, 2), &meter),
                Err(DerivationError::Pair { dkga, ea })
            );
        }
        assert_eq!(Derivation::new(&attributes(Dkga::Dkga01, Ea07, 2), &meter), Err(DerivationError::Dkga01));
        let other = "000001000000000082".parse().unwrap();
        assert_eq!(
            Derivation::new(&attributes(Dkga::Dkga02, Ea07, 2), &other),
            Err(DerivationError::OtherIin)
        );
    }
}
