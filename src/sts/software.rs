//! Decoder keys derived in software from a vending key in the clear.
//!
//! For self tests, the conformance runner's public test keys and the virtual meter only: on the
//! path of a token the vending key stays in the HSM. DKGA01 exists nowhere but here, because its
//! only secret step gives the vending key away to whoever sees the result (STS facts, decisions).

use std::fmt;

use ::cipher::{BlockCipherEncrypt, KeyInit};
use des::{Des, TdesEde2};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::cipher::DecoderKey;
use super::derivation::Derivation;

/// A vending key that does not fit the derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vending key has {found} bytes, the derivation wants {wanted}")]
pub struct VendingKeyLength {
    /// 8, 16 or 20.
    pub wanted: usize,
    /// Bytes of the key given.
    pub found: usize,
}

/// A decoder key with its memory. Wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OwnedDecoderKey {
    bytes: [u8; 16],
    is_long: bool,
}

impl OwnedDecoderKey {
    /// A copy of a key.
    pub fn new(key: DecoderKey<'_>) -> Self {
        let source = key.as_bytes();
        let mut bytes = [0; 16];
        bytes[..source.len()].copy_from_slice(source);
        Self { bytes, is_long: source.len() == 16 }
    }

    /// The key, borrowed.
    pub fn borrow(&self) -> DecoderKey<'_> {
        match (self.is_long, self.bytes.first_chunk()) {
            (false, Some(short)) => DecoderKey::Bits64(short),
            _ => DecoderKey::Bits128(&self.bytes),
        }
    }

    fn from_u64(key: u64) -> Self {
        Self::new(DecoderKey::Bits64(&key.to_be_bytes()))
    }
}

impl fmt::Debug for OwnedDecoderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owned{:?}", self.borrow())
    }
}

/// Does a derivation with a vending key in the clear, most significant byte first.
///
/// ```
/// use vendkey::sts::{
///     attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry},
///     derivation::Derivation,
///     software::derive,
/// };
///
/// let mut attributes = Attributes {
///     iin: "600727".parse()?,
///     sgc: "123456".parse()?,
///     ti: "01".parse()?,
///     krn: 1.try_into()?,
///     kt: 2.try_into()?,
///     ken: KeyExpiry(255),
///     ea: EncryptionAlgorithm::Ea07,
///     dkga: Dkga::Dkga02,
///     base_date: BaseDate::Y1993,
/// };
/// let meter = "600727000000000009".parse()?;
///
/// // DKGA02, from a DES key of 8 bytes.
/// let key = derive(&Derivation::new(&attributes, &meter)?, &[0xAB; 8])?;
/// assert_eq!(hex::encode(key.borrow().as_bytes()), "e653341f9d5bf36f");
///
/// // DKGA04, from a key of 20 bytes; EA11 takes a decoder key of 128 bits.
/// attributes.dkga = Dkga::Dkga04;
/// attributes.ea = EncryptionAlgorithm::Ea11;
/// (attributes.sgc, attributes.krn) = ("123457".parse()?, 4.try_into()?);
/// attributes.base_date = BaseDate::Y2014;
/// let vending_key = hex::decode("abababababababab949494949494949401234567")?;
/// let key = derive(&Derivation::new(&attributes, &meter)?, &vending_key)?;
/// assert_eq!(hex::encode(key.borrow().as_bytes()), "daa892189d08e738dfded73924c87f32");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`VendingKeyLength`].
pub fn derive(derivation: &Derivation, vending_key: &[u8]) -> Result<OwnedDecoderKey, VendingKeyLength> {
    match derivation {
        Derivation::Dkga02 { block } => {
            let key = fixed::<8>(vending_key)?;
            let block = u64::from_be_bytes(*block);
            Ok(OwnedDecoderKey::from_u64(des(key, block) ^ block ^ u64::from_be_bytes(*key)))
        }
        Derivation::Dkga03 { block } => {
            let key = fixed::<16>(vending_key)?;
            let mut bytes = (*block).into();
            TdesEde2::new(key.into()).encrypt_block(&mut bytes);
            Ok(OwnedDecoderKey::from_u64(u64::from_be_bytes(bytes.into()) ^ u64::from_be_bytes(*block)))
        }
        Derivation::Dkga04 { message, bits } => {
            let key = fixed::<20>(vending_key)?;
            // HMAC takes a key of any length.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
                return Err(VendingKeyLength { wanted: 20, found: vending_key.len() });
            };
            mac.update(message);
            let mut output: [u8; 32] = mac.finalize().into_bytes().into();
            let mut bytes = [0; 16];
            bytes[..bits.bytes()].copy_from_slice(&output[..bits.bytes()]);
            output.zeroize();
            Ok(OwnedDecoderKey { bytes, is_long: bits.bytes() == 16 })
        }
    }
}

/// DKGA01 (STS facts §2.3): `DES(B, VK) xor VK`, the block as the key. `block` is
/// [`super::derivation::des_block`].
///
/// # Errors
/// [`VendingKeyLength`].
pub fn derive_dkga01(block: [u8; 8], vending_key: &[u8]) -> Result<OwnedDecoderKey, VendingKeyLength> {
    let key = u64::from_be_bytes(*fixed::<8>(vending_key)?);
    Ok(OwnedDecoderKey::from_u64(des(&block, key) ^ key))
}

fn fixed<const N: usize>(key: &[u8]) -> Result<&[u8; N], VendingKeyLength> {
    key.try_into().map_err(|_| VendingKeyLength { wanted: N, found: key.len() })
}

fn des(key: &[u8; 8], block: u64) -> u64 {
    let mut bytes = block.to_be_bytes().into();
    Des::new(key.into()).encrypt_block(&mut bytes);
    u64::from_be_bytes(bytes.into())
}

#[cfg(test)]
mod tests {
    use ::cipher::BlockCipherDecrypt;

    use super::*;
    use crate::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm};

    fn derivation(
        dkga: Dkga,
        ea: EncryptionAlgorithm,
        base_date: BaseDate,
        krn: u8,
        sgc: &str,
    ) -> Derivation {
        let attributes = Attributes {
            sgc: sgc.parse().unwrap(),
            krn: krn.try_into().unwrap(),
            ea,
            dkga,
            base_date,
            ..Attributes::example()
        };
        Derivation::new(&attributes, &"600727000000000009".parse().unwrap()).unwrap()
    }

    fn hex_key(derivation: &Derivation, vending_key: &[u8]) -> String {
        hex::encode(derive(derivation, vending_key).unwrap().borrow().as_bytes())
    }

    /// Published decoder keys; sources in `tests/vectors`.
    #[test]
    fn published_decoder_keys() {
        use EncryptionAlgorithm::{Ea07, Ea11};
        let dkga02 = derivation(Dkga::Dkga02, Ea07, BaseDate::Y1993, 1, "123456");
        assert_eq!(hex_key(&dkga02, &[0xAB; 8]), "e653341f9d5bf36f");
        let key = hex::decode("abababababababab949494949494949401234567").unwrap();
        let short = derivation(Dkga::Dkga04, Ea07, BaseDate::Y2035, 5, "123457");
        assert_eq!(hex_key(&short, &key), "b08205e074afc5d6");
        let long = derivation(Dkga::Dkga04, Ea11, BaseDate::Y2014, 4, "123457");
        assert_eq!(hex_key(&long, &key), "daa892189d08e738dfded73924c87f32");
    }

    /// No vector of DKGA03 exists; with K1 = K2 triple DES is single DES, which ties it to DKGA02.
    #[test]
    fn dkga03_with_equal_halves_is_dkga02_without_the_key() {
        let Derivation::Dkga02 { block } =
            derivation(Dkga::Dkga02, EncryptionAlgorithm::Ea07, BaseDate::Y1993, 1, "123456")
        else {
            panic!("DKGA02 was asked for")
        };
        let key = [0x13; 8];
        let single = derive(&Derivation::Dkga02 { block }, &key).unwrap();
        let triple = derive(&Derivation::Dkga03 { block }, &[0x13; 16]).unwrap();
        for (index, byte) in single.borrow().as_bytes().iter().enumerate() {
            assert_eq!(byte ^ key[index], triple.borrow().as_bytes()[index]);
        }
    }

    /// Why DKGA01 is never issued: whoever sees the DES step's result decrypts it with public data.
    #[test]
    fn dkga01_swaps_the_roles() {
        let (block, key) = ([0x11, 0x23, 0x45, 0x60, 0x11, 0xFF, 0xFF, 0xFF], [0xAB; 8]);
        let decoder_key = derive_dkga01(block, &key).unwrap();
        let number = u64::from_be_bytes(decoder_key.borrow().as_bytes().try_into().unwrap());
        let mut bytes = (number ^ u64::from_be_bytes(key)).to_be_bytes().into();
        Des::new(&block.into()).decrypt_block(&mut bytes);
        assert_eq!(bytes, key);
    }

    #[test]
    fn keys_of_the_wrong_length() {
        use EncryptionAlgorithm::Ea07;
        for (dkga, wanted) in [(Dkga::Dkga02, 8), (Dkga::Dkga03, 16), (Dkga::Dkga04, 20)] {
            let derivation = derivation(dkga, Ea07, BaseDate::Y2014, 1, "123456");
            assert_eq!(
                derive(&derivation, &[0; 21]).map(|_| ()),
                Err(VendingKeyLength { wanted, found: 21 })
            );
        }
        assert!(derive_dkga01([0; 8], &[0; 20]).is_err());
        let key = OwnedDecoderKey::new(DecoderKey::Bits64(&[0xAB; 8]));
        assert_eq!(format!("{key:?}"), "OwnedDecoderKey(64 bits)");
    }
}
