//! The bits of a clear block by name, for a person to look at. Key bits, and the CRC that was taken
//! over them, are hidden.

use super::block::ClearBlock;
use crate::sts::attributes::EncryptionAlgorithm;

/// A run of bits of a token, most significant first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutField {
    /// What they are.
    pub name: &'static str,
    /// `0` and `1`, or a `*` for each bit that is kept secret.
    pub bits: String,
}

/// A field's name and width in bits.
type Shape = (&'static str, u32);

const CREDIT: &[Shape] = &[("rnd", 4), ("tid", 24), ("amount exponent", 2), ("amount mantissa", 14)];
const CURRENCY: &[Shape] = &[
    ("amount sign", 1),
    ("amount exponent, high", 3),
    ("tid", 24),
    ("amount exponent, low", 2),
    ("amount mantissa", 14),
];
const TWO_DIGIT_DISPLAY: &[Shape] = &[("control", 36), ("manufacturer code", 8)];
const FOUR_DIGIT_DISPLAY: &[Shape] = &[("control", 28), ("manufacturer code", 16)];
const POWER: &[Shape] = &[("rnd", 4), ("tid", 24), ("power exponent", 2), ("power mantissa", 14)];
const REGISTER: &[Shape] = &[("rnd", 4), ("tid", 24), ("register", 16)];
const EXTENDED: &[Shape] = &[("rnd", 4), ("tid", 24), ("index", 6), ("value", 10)];
const FIRST: &[Shape] =
    &[("ken, high", 4), ("krn", 4), ("roll-over", 1), ("3-token set", 1), ("kt", 2), (KEY, 32)];
const SECOND: &[Shape] = &[("ken, low", 4), ("ti", 8), (KEY, 32)];
const THIRD_OF_THREE: &[Shape] = &[("sgc", 24), ("padding", 20)];
const THIRD_OF_FOUR: &[Shape] = &[("sgc, low", 12), (KEY, 32)];
const FOURTH: &[Shape] = &[("sgc, high", 12), (KEY, 32)];
const UNKNOWN: &[Shape] = &[("content", 44)];
/// The one field whose bits are never shown.
const KEY: &str = "key bits";

/// The content of a block of this class and subclass, 44 bits.
fn content(class: u8, subclass: u8, ea: EncryptionAlgorithm) -> &'static [Shape] {
    match (class, subclass) {
        (0, 0..=3) => CREDIT,
        (0, 4..=7) => CURRENCY,
        (1, 0 | 2 | 11..) => TWO_DIGIT_DISPLAY,
        (1, 1 | 6..=10) => FOUR_DIGIT_DISPLAY,
        (2, 0 | 6) => POWER,
        (2, 1 | 2 | 5 | 7) => REGISTER,
        (2, 10) => EXTENDED,
        (2, 3) => FIRST,
        (2, 4) => SECOND,
        (2, 8) if ea.key_bytes() == 16 => THIRD_OF_FOUR,
        (2, 8) => THIRD_OF_THREE,
        (2, 9) => FOURTH,
        _ => UNKNOWN,
    }
}

impl ClearBlock {
    /// All 66 bits by name: class, subclass, the content's fields, CRC. The cipher is asked for
    /// because the third key-change section is laid out by the key's length.
    pub fn layout(&self, ea: EncryptionAlgorithm) -> Vec<LayoutField> {
        let shapes = content(self.class(), self.subclass(), ea);
        let hides_key = shapes.iter().any(|(name, _)| *name == KEY);
        let class = LayoutField { name: "class", bits: format!("{:02b}", self.class()) };
        let mut fields = vec![class];
        let mut lowest = 64;
        for (name, width) in [&[("subclass", 4)], shapes, &[("crc", 16)]].concat() {
            lowest -= width;
            let hidden = hides_key && (name == KEY || name == "crc");
            let bits = if hidden {
                "*".repeat(width as usize)
            } else {
                format!("{:0width$b}", self.field(lowest, width), width = width as usize)
            };
            fields.push(LayoutField { name, bits });
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_66_bits() {
        for ea in [EncryptionAlgorithm::Ea07, EncryptionAlgorithm::Ea11] {
            for class in 0..3 {
                for subclass in 0..16 {
                    let fields = ClearBlock::seal(class, subclass, 0).layout(ea);
                    let bits: usize = fields.iter().map(|field| field.bits.len()).sum();
                    assert_eq!(bits, 66, "class {class}, subclass {subclass}");
                }
            }
        }
    }

    /// The worked example of the STS Association's site (STS facts §3.1).
    #[test]
    fn fields_of_a_credit() {
        let block = ClearBlock::from_parts(0, 0x05C0_2A55_2710_1970).unwrap();
        let shown: Vec<_> = block
            .layout(EncryptionAlgorithm::Ea07)
            .into_iter()
            .map(|field| format!("{} {}", field.name, field.bits))
            .collect();
        assert_eq!(
            shown,
            [
                "class 00",
                "subclass 0000",
                "rnd 0101",
                "tid 110000000010101001010101",
                "amount exponent 00",
                "amount mantissa 10011100010000",
                "crc 0001100101110000",
            ]
        );
    }

    #[test]
    fn key_bits_and_their_crc_are_hidden() {
        for subclass in [3, 4, 8, 9] {
            let one = ClearBlock::seal(2, subclass, 0x123_4567_89AB);
            let other = ClearBlock::seal(2, subclass, 0x123_FFFF_FFFF & !0xFFFF_FFFF | 0x1234);
            assert!(!format!("{one:?}").contains("89ab"));
            assert_eq!(one.layout(EncryptionAlgorithm::Ea11), other.layout(EncryptionAlgorithm::Ea11));
        }
    }
}
