//! Known answers of what is computed in this process.

use ::cipher::{
    BlockCipherEncrypt as _, BlockModeDecrypt as _, BlockModeEncrypt as _, KeyInit as _, KeyIvInit as _,
};
use aes_gcm::{Aes256Gcm, aead::Aead as _};
use hmac::{Hmac, Mac as _};
use rsa::pkcs8::DecodePublicKey as _;
use sha2::{Digest as _, Sha256};

use super::{SelfTest, tokens};
use crate::envelope::PublicKey;
use crate::sts::attributes::EncryptionAlgorithm;
use crate::sts::cipher::{DecoderKey, decrypt_block, encrypt_block};
use crate::sts::crc::crc;

/// A test: its name, where its answer was published, and whether it comes out.
struct KnownAnswer {
    name: &'static str,
    source: &'static str,
    comes_out: fn() -> bool,
}

const ALL: &[KnownAnswer] = &[
    KnownAnswer { name: "SHA-256", source: "FIPS 180-4, \"abc\"", comes_out: sha256 },
    KnownAnswer { name: "HMAC-SHA-256", source: "RFC 4231 §4.2", comes_out: hmac_sha256 },
    KnownAnswer { name: "DES", source: "FIPS 81 appendix B", comes_out: des },
    KnownAnswer {
        name: "triple DES",
        source: "one key thrice is DES, FIPS 81 appendix B",
        comes_out: triple_des,
    },
    KnownAnswer { name: "AES-128, AES-256", source: "FIPS 197 appendix C", comes_out: aes },
    KnownAnswer { name: "AES-128-CBC", source: "SP 800-38A F.2.1", comes_out: aes_cbc },
    KnownAnswer {
        name: "AES-256-GCM",
        source: "test cases 13 and 14 of the GCM specification",
        comes_out: aes_256_gcm,
    },
    KnownAnswer { name: "RSA PKCS#1 v1.5 verification", source: "made with openssl", comes_out: rsa_pkcs1 },
    KnownAnswer { name: "RSA PSS verification", source: "made with openssl", comes_out: rsa_pss },
    KnownAnswer { name: "CRC of tokens", source: "figures of the standard", comes_out: token_crc },
    KnownAnswer { name: "EA07", source: "figures of the standard", comes_out: ea07 },
    KnownAnswer { name: "EA09", source: "FIPS 81 appendix B", comes_out: ea09 },
    KnownAnswer { name: "EA11", source: "RFC 2994 appendix A", comes_out: ea11 },
];

/// Runs them all.
pub fn software() -> Vec<SelfTest> {
    let mut tests: Vec<SelfTest> = ALL
        .iter()
        .map(|known| SelfTest {
            name: known.name.to_owned(),
            outcome: match (known.comes_out)() {
                true => Ok(known.source.to_owned()),
                false => Err(format!("the known answer does not come out ({})", known.source)),
            },
        })
        .collect();
    tests.extend(tokens::in_software());
    tests
}

fn sha256() -> bool {
    let known = *b"\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\
        \xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad";
    // The `rsa` crate has a generation of its own.
    let of_rsa = <rsa::sha2::Sha256 as rsa::sha2::Digest>::digest(b"abc");
    Sha256::digest(b"abc")[..] == known && of_rsa[..] == known
}

fn hmac_sha256() -> bool {
    let known = *b"\xb0\x34\x4c\x61\xd8\xdb\x38\x53\x5c\xa8\xaf\xce\xaf\x0b\xf1\x2b\
        \x88\x1d\xc2\x00\xc9\x83\x3d\xa7\x26\xe9\x37\x6c\x2e\x32\xcf\xf7";
    Hmac::<Sha256>::new_from_slice(&[0x0b; 20])
        .is_ok_and(|mac| mac.chain_update(b"Hi There").finalize().into_bytes()[..] == known)
}

/// FIPS 81, appendix B.
const DES_KEY: [u8; 8] = 0x0123_4567_89AB_CDEF_u64.to_be_bytes();
const DES_CLEAR: u64 = u64::from_be_bytes(*b"Now is t");
const DES_ENCRYPTED: u64 = 0x3FA4_0E8A_984D_4815;

fn des() -> bool {
    let mut block = DES_CLEAR.to_be_bytes().into();
    ::des::Des::new(&DES_KEY.into()).encrypt_block(&mut block);
    u64::from_be_bytes(block.into()) == DES_ENCRYPTED
}

fn triple_des() -> bool {
    let mut block = DES_CLEAR.to_be_bytes().into();
    let Ok(cipher) = ::des::TdesEde2::new_from_slice(&[DES_KEY, DES_KEY].concat()) else { return false };
    cipher.encrypt_block(&mut block);
    u64::from_be_bytes(block.into()) == DES_ENCRYPTED
}

fn aes() -> bool {
    let key: [u8; 32] = std::array::from_fn(|index| index as u8);
    let clear: [u8; 16] = std::array::from_fn(|index| (index * 0x11) as u8);
    let (Ok(aes_128), Ok(aes_256)) =
        (::aes::Aes128::new_from_slice(&key[..16]), ::aes::Aes256::new_from_slice(&key))
    else {
        return false;
    };
    let mut blocks = [clear.into(), clear.into()];
    aes_128.encrypt_block(&mut blocks[0]);
    aes_256.encrypt_block(&mut blocks[1]);
    blocks[0] == *b"\x69\xc4\xe0\xd8\x6a\x7b\x04\x30\xd8\xcd\xb7\x80\x70\xb4\xc5\x5a"
        && blocks[1] == *b"\x8e\xa2\xb7\xca\x51\x67\x45\xbf\xea\xfc\x49\x90\x4b\x49\x60\x89"
}

fn aes_cbc() -> bool {
    let key = *b"\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c";
    let iv: [u8; 16] = std::array::from_fn(|index| index as u8);
    let clear = *b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a";
    let mut block = clear.into();
    cbc::Encryptor::<::aes::Aes128>::new(&key.into(), &iv.into()).encrypt_block(&mut block);
    let encrypted = block == *b"\x76\x49\xab\xac\x81\x19\xb2\x46\xce\xe9\x8e\x9b\x12\xe9\x19\x7d";
    cbc::Decryptor::<::aes::Aes128>::new(&key.into(), &iv.into()).decrypt_block(&mut block);
    encrypted && block == clear
}

fn aes_256_gcm() -> bool {
    let cipher = Aes256Gcm::new(&[0; 32].into());
    let nonce = [0; 12].into();
    let sealed =
        |clear: &[u8], known: &[u8]| cipher.encrypt(&nonce, clear).is_ok_and(|sealed| sealed == known);
    let block = *b"\xce\xa7\x40\x3d\x4d\x60\x6b\x6e\x07\x4e\xc5\xd3\xba\xf3\x9d\x18\
        \xd0\xd1\xc8\xa7\x99\x99\x6b\xf0\x26\x5b\x98\xb5\xd4\x8a\xb9\x19";
    let mut forged = block;
    forged[0] ^= 1;
    sealed(b"", b"\x53\x0f\x8a\xfb\xc7\x45\x36\xb9\xa9\x63\xb4\xf1\xc4\xcb\x73\x8b")
        && sealed(&[0; 16], &block)
        && cipher.decrypt(&nonce, forged.as_slice()).is_err()
}

/// A key made for this purpose; its private half is gone.
const RSA_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjNWBRxEsAJvccF88tBnZ
xcx4lqrB2RglG3xN1fNh0NpVr9Xf6MoMibNZWcmx3FE2Dgctw1Xmsjez/Xh45PZU
fYEs7Tk2DHjk7kxdDs7l89HqTsml4iXU8Y8g7FEzC7dmco2z0VpBPjs2O8ugoJ8g
GinOvtpqsbY60zijJrl9dokGqB7jqYZouO5KLajkEJ34V1jFWqOdASBTYE5LiTxF
rO6cA7OW2IcKoDQpyVvX+vpsSBWiS++8/ZwG/uDZ6tldZnunkI+f6mc2dmvGIsCh
R1+vHE6F2YH1//mFchU2nVakWOawUCVPUrqTWz+1um65jYy/fiOf6ndPTc49l6Rt
8QIDAQAB
-----END PUBLIC KEY-----
";
/// What its signatures are over: `openssl dgst -sha256 -sign`, plain and with `-sigopt
/// rsa_padding_mode:pss`; `openssl rsautl -sign` of the digest.
const RSA_MESSAGE: &[u8] = b"vendkey known answer";
const RSA_WITH_DIGEST_INFO: &str = "\
    441e1fc85b5e1bc7e165575191d62b1663983b8ef9e6b0b8dce7d074ef2b301304486ad4718ed71919b5e435819a53ab\
    1a4af1dd62d13035755b218f479807bafe0e19ecc8e38d4da4fcb8cee78af0ce032ed9113e3e39fdd4a7e3b315b4519c\
    c53958f0d7a9b0dabb79ab93ea17dbd5bf57046bbaf13c1a0a534947ecb7728c53aa727baa27797869e7a6554384d18f\
    68f0147f655d72d9c8460328647cdc8a7a046ce53a65103aaa492bbb721836b755da226f6cb8fa30ab83f327c3eccfef\
    ffb9d6e951c8ce6784910daf282e84758f3d10b333bf8113385d4a4d267e674a55a8d15d4ec7790c1a71626b93b1c289\
    b68cc3f4b1e117af07ae8369ca1bf254";
const RSA_RAW: &str = "\
    1a9363c6df042c3c66c64c80d55d7396b5ff4c60d526fd15c6843debd8f4d00fb9032b3f5b539c2d701909e639f02745\
    bb05e4b30cf5f328860e043785b7e7d70e0e50322fe0bc9a552d5eb351a2f8ece573738b056917592fd4a7e5955005ef\
    ba58696b8431729d888a9d13655af08efea625d8216ccaa4a35aa87135b7aa9ec75510845bddee6bca54fb97bee61368\
    49657c5a25572819a6eb7dfdad217fcac382a377341d4e6edddfbae37c5e8f0abe741200067c049e73f6f2c96fd8ce0c\
    7da7918ce003c47130782762bb14cad76515613eabfe437bc10e00bc92ea5736927c29d191bdb04d7577d22dc48f8911\
    e24a4c25590325c5210869f4cf652f6b";
const RSA_PSS: &str = "\
    45d6e3023e013fbd2cf213945f1ef2e7f4a2f527c6c05fee9495447714fa38033840c8681b9d1dc5d12685915fb82048\
    522c3ab3b411158c9c68fd20d5cce78aa1a6e0830c56e724303d636f8c06ff56d09c45b5f6e6d629795503b92506d25e\
    32a96b1f5d03a53209304f752cef8b600416f3bd667766b087e1c41c332e6c0fd45bf05859a336e5aa08452809647435\
    a283b1194bcf673a955ecf6a99de7f120e72ab36d378a8b408517568067c14e4ffc5b53653dfdb8363133d9924335b42\
    ed7e22e1c2a6c49732df860cf774d2134cfd9d22e6ed51361532d181471ce1ec709facaf43ad14bda66325ac5787715d\
    936afb004582cb8389d6e4fdda865701";

/// A signature, and the same with one bit changed.
fn signatures(text: &str) -> Option<[Vec<u8>; 2]> {
    let right = hex::decode(text).ok()?;
    let mut wrong = right.clone();
    *wrong.get_mut(100)? ^= 1;
    Some([right, wrong])
}

fn rsa_pkcs1() -> bool {
    let Ok(key) = PublicKey::parse(RSA_KEY.as_bytes()) else { return false };
    let digest: [u8; 32] = Sha256::digest(RSA_MESSAGE).into();
    let other: [u8; 32] = Sha256::digest(b"another message").into();
    [RSA_WITH_DIGEST_INFO, RSA_RAW].into_iter().all(|text| {
        signatures(text).is_some_and(|[right, wrong]| {
            key.verifies(&digest, &right) && !key.verifies(&digest, &wrong) && !key.verifies(&other, &right)
        })
    })
}

fn rsa_pss() -> bool {
    let Ok(key) = rsa::RsaPublicKey::from_public_key_pem(RSA_KEY) else { return false };
    let digest = Sha256::digest(RSA_MESSAGE);
    let scheme = || rsa::Pss::new::<rsa::sha2::Sha256>();
    signatures(RSA_PSS).is_some_and(|[right, wrong]| {
        key.verify(scheme(), &digest, &right).is_ok() && key.verify(scheme(), &digest, &wrong).is_err()
    })
}

/// STS facts §3.1.
fn token_crc() -> bool {
    let of = |data: u64| crc(&data.to_be_bytes()[1..]);
    of(0x00_0B19_EB23_0100) == 0xC207 && of(0x00_05C0_2A55_2710) == 0x1970
}

fn block_cipher(ea: EncryptionAlgorithm, key: &[u8], clear: u64, encrypted: u64) -> bool {
    DecoderKey::from_slice(key).is_some_and(|key| {
        encrypt_block(ea, key, clear) == Ok(encrypted) && decrypt_block(ea, key, encrypted) == Ok(clear)
    })
}

/// STS facts §5.1.
fn ea07() -> bool {
    let key = 0x0ABC_12DE_F345_6789_u64.to_be_bytes();
    block_cipher(EncryptionAlgorithm::Ea07, &key, 0x0B19_EB23_0100_C207, 0x9335_C6C9_6B73_52DC)
}

fn ea09() -> bool {
    block_cipher(EncryptionAlgorithm::Ea09, &DES_KEY, DES_CLEAR, DES_ENCRYPTED)
}

fn ea11() -> bool {
    let key = 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF_u128.to_be_bytes();
    [(0x0123_4567_89AB_CDEF, 0x8B1D_A5F5_6AB3_D07C), (0xFEDC_BA98_7654_3210, 0x04B6_8240_B13B_E95D)]
        .into_iter()
        .all(|(clear, encrypted)| block_cipher(EncryptionAlgorithm::Ea11, &key, clear, encrypted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_answer_comes_out() {
        for test in software() {
            assert!(test.outcome.is_ok(), "{test:?}");
        }
    }

    /// A test that cannot fail is none.
    #[test]
    fn wrong_answers_are_noticed() {
        let key = 0x0ABC_12DE_F345_6789_u64.to_be_bytes();
        assert!(!block_cipher(EncryptionAlgorithm::Ea07, &key, 0x0B19_EB23_0100_C207, 0x9335_C6C9_6B73_52DD));
        assert!(!block_cipher(EncryptionAlgorithm::Ea11, &key, 0, 0));
        assert!(signatures("00").is_none());
    }
}
