//! What to derive, as data (STS facts §2): the border between the standard and whoever holds the vending key.
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
    /// DKGA01 encrypts the vending key under public data: whoever gets the result of that step has the vending key.
    #[error("DKGA01 is never issued: its only secret step would give the vending key away")]
    Dkga01,
    /// The algorithm does not give a key of the length that the cipher wants, or the standard has no such pair.
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
    /// [`DerivationError`]: DKGA01; a pair of algorithms that does not go together; a meter of another issuer.
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

    /// The message of DKGA04 (STS facts §2.5): SP 800-108 style, "label, 00, context, L", of counted, length-prefixed
    /// ASCII items.
    fn dkga04(attributes: &Attributes, meter: &MeterPan, bits: KeyBits) -> Self {
        let mut message = Message { bytes: [0; DKGA04_MESSAGE_BYTES], len: 0 };
        message.count(4);
        message.item("04");
        message.item(match attributes.base_date {
            BaseDate::Y1993 => "93",
            BaseDate::Y2014 => "14",
            BaseDate::Y2035 => "35",
        });
        message.item(match bits {
            KeyBits::Bits64 => "07",
            KeyBits::Bits128 => "11",
        });
        message.item(&attributes.ti.to_string());
        message.count(0);
        message.count(4);
        message.item(attributes.sgc.as_str());
        message.item(&attributes.kt.to_string());
        message.item(&attributes.krn.to_string());
        message.item(meter.as_str());
        // L, the key's length in bits, four bytes big endian.
        message.bytes[DKGA04_MESSAGE_BYTES - 1] = match bits {
            KeyBits::Bits64 => 0x40,
            KeyBits::Bits128 => 0x80,
        };
        Self::Dkga04 { message: message.bytes, bits }
    }
}

/// The message of DKGA04 while it is written. The items have fixed lengths, 45 bytes in all, before the four of L.
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

/// B = PANBLOCK xor CONTROLBLOCK of DKGA01, DKGA02 and DKGA03 (STS facts §2.1), most significant byte first.
pub fn des_block(attributes: &Attributes, meter: &MeterPan) -> [u8; 8] {
    let control = control_block(attributes.kt, attributes.sgc, attributes.ti, attributes.krn);
    let pan = pan_block(meter.as_str().as_bytes(), meter.iin().as_str().len(), attributes.kt);
    std::array::from_fn(|place| pan[place] ^ control[place])
}

/// PANBLOCK of digit strings that need not be a valid meter number, for the conformance runner: IIN of 4 or 6 digits, and
/// IAIN that fills 17 with it. `None` otherwise.
pub fn pan_block_of_digits(iin: &str, iain: &str, kt: KeyType) -> Option<[u8; 8]> {
    let digits = format!("{iin}{iain}");
    let well_formed =
        matches!(iin.len(), 4 | 6) && digits.len() == 17 && digits.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| pan_block(digits.as_bytes(), iin.len(), kt))
}

/// PANBLOCK: digits 2 to 17 of the MeterPAN as 16 nibbles; a common key (KT 3) has zeros for the meter's own digits.
/// `pan` holds 17 ASCII digits at least, the first `iin_digits` of them the issuer's.
fn pan_block(pan: &[u8], iin_digits: usize, kt: KeyType) -> [u8; 8] {
    let nibble = |place: usize| {
        if kt == KeyType::Dctk && place >= iin_digits { 0 } else { pan[place] - b'0' }
    };
    std::array::from_fn(|byte| nibble(2 * byte + 1) << 4 | nibble(2 * byte + 2))
}

/// CONTROLBLOCK: KT, SGC, TI and KRN as decimal nibbles, then six of F.
pub fn control_block(kt: KeyType, sgc: SupplyGroupCode, ti: TariffIndex, krn: KeyRevision) -> [u8; 8] {
    let (sgc, ti) = (sgc.value(), u64::from(ti.value()));
    let digits = (0..6)
        .fold(0_u64, |block, place| block | u64::from(sgc / 10_u32.pow(place) % 10) << (36 + 4 * place));
    let block = u64::from(kt.value()) << 60
        | digits
        | (ti / 10) << 32
        | (ti % 10) << 28
        | u64::from(krn.value()) << 24
        | 0xFF_FFFF;
    block.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(dkga: Dkga, ea: EncryptionAlgorithm, kt: u8) -> Attributes {
        Attributes {
            iin: "600727".parse().unwrap(),
            sgc: "123456".parse().unwrap(),
            ti: "01".parse().unwrap(),
            krn: "1".parse().unwrap(),
            kt: kt.try_into().unwrap(),
            ken: super::super::attributes::KeyExpiry(255),
            ea,
            dkga,
            base_date: BaseDate::Y2014,
        }
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
