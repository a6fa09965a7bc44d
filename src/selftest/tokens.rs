//! Whole tokens with published digits: from a vending key and attributes to 20 digits, in software
//! and through the HSM.

use super::SelfTest;
use crate::hsm::{DecoderKeys, Hsm, HsmError, KeyKind, VendingKeyMaterial, WithDecoderKeys};
use crate::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry};
use crate::sts::cipher::DecoderKey;
use crate::sts::derivation::Derivation;
use crate::sts::meter::MeterPan;
use crate::sts::software::derive;
use crate::sts::token::ClearBlock;

/// A token and everything it is made of.
struct KnownToken {
    name: &'static str,
    source: &'static str,
    /// Most significant byte first.
    vending_key: &'static [u8],
    dkga: Dkga,
    ea: EncryptionAlgorithm,
    kt: u8,
    sgc: &'static str,
    /// MeterPAN.
    meter: &'static str,
    class: u8,
    block: u64,
    token: &'static str,
}

/// The vending key of STS 531-1-07 and 531-1-11, 20 bytes.
const STS_531_KEY: &[u8] =
    b"\xab\xab\xab\xab\xab\xab\xab\xab\x94\x94\x94\x94\x94\x94\x94\x94\x01\x23\x45\x67";
/// The vending key of the SDK's example.
const SDK_KEY: &[u8] = b"\x01\x23\x45\x67\x89\xab\xcd\xef";

static ALL: [KnownToken; 4] = [
    KnownToken {
        name: "token under DKGA04 and EA07",
        source: "STS 531-1-07 Edition 2.2, CTSA01 step 1",
        vending_key: STS_531_KEY,
        dkga: Dkga::Dkga04,
        ea: EncryptionAlgorithm::Ea07,
        kt: 2,
        sgc: "201457",
        meter: "600727000000000009",
        class: 0,
        block: 0x0501_4EEC_0001_3188,
        token: "70630503470028726114",
    },
    KnownToken {
        name: "token under DKGA04 and EA11",
        source: "STS 531-1-11 Edition 2.2, CTSA01 step 5",
        vending_key: STS_531_KEY,
        dkga: Dkga::Dkga04,
        ea: EncryptionAlgorithm::Ea11,
        kt: 2,
        sgc: "201457",
        meter: "000001000000000082",
        class: 0,
        block: 0x0501_4F14_0001_B185,
        token: "13165821006407279478",
    },
    KnownToken {
        name: "token under DKGA02 and EA07",
        source: "sample token of the NectarAPI SDK",
        vending_key: SDK_KEY,
        dkga: Dkga::Dkga02,
        ea: EncryptionAlgorithm::Ea07,
        kt: 3,
        sgc: "123456",
        meter: "600727475001502312",
        class: 2,
        block: 0x79CB_9B01_000A_685A,
        token: "24260829498939505863",
    },
    KnownToken {
        name: "token under DKGA02 and EA09",
        source: "the same block, its cipher computed with openssl",
        vending_key: SDK_KEY,
        dkga: Dkga::Dkga02,
        ea: EncryptionAlgorithm::Ea09,
        kt: 3,
        sgc: "123456",
        meter: "600727475001502312",
        class: 2,
        block: 0x79CB_9B01_000A_685A,
        token: "06709582476210879484",
    },
];

/// Why a token did not come out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the known digits do not come out")]
    Digits,
    #[error("the test cannot be set up: {0}")]
    SetUp(String),
    #[error(transparent)]
    Hsm(#[from] HsmError),
}

fn set_up(error: impl ToString) -> Failure {
    Failure::SetUp(error.to_string())
}

impl KnownToken {
    fn derivation(&self) -> Result<Derivation, Failure> {
        let meter: MeterPan = self.meter.parse().map_err(set_up)?;
        let attributes = Attributes {
            iin: meter.iin(),
            sgc: self.sgc.parse().map_err(set_up)?,
            ti: "01".parse().map_err(set_up)?,
            krn: "1".parse().map_err(set_up)?,
            kt: self.kt.try_into().map_err(set_up)?,
            ken: KeyExpiry(255),
            ea: self.ea,
            dkga: self.dkga,
            base_date: BaseDate::Y2014,
        };
        Derivation::new(&attributes, &meter).map_err(set_up)
    }

    /// Whether the key makes the known digits of the block, and the digits the block.
    fn comes_out(&self, key: DecoderKey<'_>) -> Result<(), Failure> {
        let block = ClearBlock::from_parts(self.class, self.block).map_err(set_up)?;
        let token = block.encrypt(self.ea, key).map_err(set_up)?;
        let back = token.decrypt(self.ea, key).map_err(set_up)?.bits();
        if token.to_string() == self.token && back == self.block { Ok(()) } else { Err(Failure::Digits) }
    }

    fn kind(&self) -> KeyKind {
        match self.dkga {
            Dkga::Dkga04 => KeyKind::Hmac,
            Dkga::Dkga03 => KeyKind::Des2,
            Dkga::Dkga01 | Dkga::Dkga02 => KeyKind::Des,
        }
    }

    /// As a token is issued, but with a session object for the vending key.
    async fn through_hsm(&'static self, hsm: &Hsm) -> Result<(), Failure> {
        let material =
            VendingKeyMaterial::from_slice(self.kind(), self.vending_key).map_err(HsmError::from)?;
        let key = hsm.import_session_key(material.ok_or_else(|| set_up("a key of another length"))?).await?;
        let permit = hsm.try_reserve()?;
        let wanted = vec![(key.key(), self.derivation()?)];
        hsm.with_decoder_keys(permit, wanted, |keys| match keys {
            [key] => self.comes_out(*key),
            _ => Err(set_up("not one key for one derivation")),
        })
        .await?
    }

    fn told(&self, outcome: Result<(), Failure>) -> SelfTest {
        let outcome = match outcome {
            Ok(()) => Ok(self.source.to_owned()),
            Err(failure) => Err(format!("{failure} ({})", self.source)),
        };
        SelfTest { name: self.name.to_owned(), outcome }
    }
}

/// With decoder keys derived in software.
pub(super) fn in_software() -> impl Iterator<Item = SelfTest> {
    ALL.iter().map(|known| {
        let outcome = known
            .derivation()
            .and_then(|derivation| derive(&derivation, known.vending_key).map_err(set_up))
            .and_then(|key| known.comes_out(key.borrow()));
        known.told(outcome)
    })
}

/// With decoder keys derived in the HSM, for the kinds of key that it serves.
pub(super) async fn through_hsm(hsm: &Hsm) -> Vec<SelfTest> {
    let mut tests = Vec::new();
    for known in ALL.iter().filter(|known| hsm.serves(known.kind()).is_ok()) {
        tests.push(known.told(known.through_hsm(hsm).await));
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_digits_come_out_of_no_other_key() {
        for known in &ALL {
            let derivation = known.derivation().unwrap();
            let mut other = known.vending_key.to_vec();
            other[0] ^= 2;
            let key = derive(&derivation, &other).unwrap();
            assert!(matches!(known.comes_out(key.borrow()), Err(Failure::Digits)), "{}", known.name);
        }
        assert!(in_software().all(|test| test.outcome.is_ok()));
    }
}
