//! The CRC of a token's block (STS facts §3.1).

/// Bits 65..16 of a token (class, subclass, content), left padded to seven bytes: what the CRC is
/// taken over.
const INPUT_BYTES: usize = 7;

/// The CRC as it stands in bits 15..0 of the block: CRC-16 with polynomial 0x8005 processed
/// reflected, initial FFFF, no final xor, its two bytes swapped.
pub fn crc(data: &[u8]) -> u16 {
    data.iter().fold(0xFFFF_u16, |register, byte| update(register, *byte)).swap_bytes()
}

/// The CRC of a block of this class; `content` holds subclass and content, 48 bits. Currency
/// credits (class 0, subclasses 4 to 7) take CRC_C: one more byte 01.
pub(super) fn block_crc(class: u8, content: u64) -> u16 {
    let number = u64::from(class) << 48 | content;
    let bytes = number.to_be_bytes();
    let is_currency = class == 0 && content >> 46 & 0b11 == 0b01;
    let mut data = [1; INPUT_BYTES + 1];
    data[..INPUT_BYTES].copy_from_slice(&bytes[1..]);
    crc(&data[..INPUT_BYTES + usize::from(is_currency)])
}

fn update(register: u16, byte: u8) -> u16 {
    TABLE[usize::from((register ^ u16::from(byte)) & 0xFF)] ^ register >> 8
}

/// What a byte does to the register. Bit by bit, the CRC would take as long as the cipher.
static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut entry = byte as u16;
        let mut bit = 0;
        while bit < 8 {
            entry = if entry & 1 == 1 { entry >> 1 ^ 0xA001 } else { entry >> 1 };
            bit += 1;
        }
        table[byte] = entry;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the standard and that of the STS Association's site (STS facts §3.1).
    #[test]
    fn published_crcs() {
        assert_eq!(crc(&[0x00, 0x0B, 0x19, 0xEB, 0x23, 0x01, 0x00]), 0xC207);
        assert_eq!(crc(&[0x00, 0x05, 0xC0, 0x2A, 0x55, 0x27, 0x10]), 0x1970);
        assert_eq!(block_crc(0, 0x0B19_EB23_0100), 0xC207);
    }

    #[test]
    fn only_currency_credits_take_the_longer_crc() {
        for class in 0..3 {
            for subclass in 0..16_u64 {
                let content = subclass << 44 | 0x123_4567_89AB;
                let mut data = (u64::from(class) << 48 | content).to_be_bytes()[1..].to_vec();
                if class == 0 && (4..8).contains(&subclass) {
                    data.push(1);
                }
                assert_eq!(block_crc(class, content), crc(&data), "class {class}, subclass {subclass}");
            }
        }
    }
}
