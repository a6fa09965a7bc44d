//! Decoder keys of vectors: given, or derived from attributes as they are.
//!
//! Nothing here asks whether a meter or a key of these attributes exists: check digits may be
//! wrong, the IIN odd, the key revision 0.

use super::fields::{Fault, Fields};
use super::task::KeySource;
use crate::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry};
use crate::sts::derivation::{Derivation, DerivationDigits};
use crate::sts::meter::{Drn, Iin, MeterPan, luhn_digit};

/// A decoder key that is given, or what it is derived from.
pub(super) fn key_source(fields: Fields<'_>) -> Result<KeySource, Fault> {
    if let Some(key) = fields.bytes("decoder_key")? {
        return Ok(KeySource::Given(key));
    }
    let vending_key = fields.needed_bytes("vending_key")?;
    let dkga: Dkga = fields.needed_coded::<u8, _>("dkga")?;
    let (pan, iin_digits) = meter(fields)?;
    let (ea, base_date) = match dkga {
        // These go into no DES block.
        Dkga::Dkga01 | Dkga::Dkga02 | Dkga::Dkga03 => (EncryptionAlgorithm::Ea07, BaseDate::Y1993),
        Dkga::Dkga04 => (fields.needed_coded::<u8, _>("ea")?, fields.needed_coded::<u16, _>("base_date")?),
    };
    let digits = DerivationDigits {
        pan: &pan,
        iin_digits,
        sgc: fields.needed("sgc")?,
        ti: fields.needed("ti")?,
        krn: fields.needed("krn")?,
        kt: fields.needed("kt")?,
        ea,
        base_date,
    };
    // The PAN and the key type are in their ranges by now.
    let range = || fields.fault("sgc, ti, krn", "more digits than 6, 2 and 1");
    let derivation = match dkga {
        Dkga::Dkga01 => {
            let block = digits.des_block().ok_or_else(range)?;
            return Ok(KeySource::Dkga01 { vending_key, block });
        }
        Dkga::Dkga02 => Derivation::Dkga02 { block: digits.des_block().ok_or_else(range)? },
        Dkga::Dkga03 => Derivation::Dkga03 { block: digits.des_block().ok_or_else(range)? },
        Dkga::Dkga04 => digits.dkga04().ok_or_else(range)?,
    };
    Ok(KeySource::Derived { vending_key, derivation })
}

/// The cipher; a decoder key that stands in place of all attributes says it by its length.
pub(super) fn cipher(fields: Fields<'_>) -> Result<Option<EncryptionAlgorithm>, Fault> {
    if let Some(ea) = fields.coded::<u8, _>("ea")? {
        return Ok(Some(ea));
    }
    Ok(fields.bytes("decoder_key")?.map(|key| match key.as_bytes().len() {
        16 => EncryptionAlgorithm::Ea11,
        _ => EncryptionAlgorithm::Ea07,
    }))
}

/// The 18 digits of the MeterPAN, and how many of them are the issuer's.
fn meter(fields: Fields<'_>) -> Result<(String, usize), Fault> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (iin, iain) = (fields.text("iin")?, fields.text("iain")?);
    if let Some(pan) = fields.text("pan")? {
        if pan.len() != 18 || !is_digits(&pan) {
            return Err(fields.fault("pan", "not 18 digits"));
        }
        let iin_digits = match iin {
            Some(iin) if pan.starts_with(&iin) => iin.len(),
            _ if pan.starts_with("0000") => 4,
            _ => 6,
        };
        return Ok((pan, iin_digits));
    }
    let (Some(iin), Some(iain)) = (iin, iain) else {
        return Err(fields.fault("pan", "missing, as are iin and iain"));
    };
    let front = format!("{iin}{iain}");
    match luhn_digit(&front) {
        Some(check) if front.len() == 17 => Ok((format!("{front}{check}"), iin.len())),
        _ => Err(fields.fault("iain", "iin and iain are not 17 digits together")),
    }
}

/// Attributes that a vending system could have, for what it is to refuse.
pub(super) fn attributes(fields: Fields<'_>) -> Result<Attributes, Fault> {
    let meter: MeterPan = match fields.get("pan")? {
        Some(pan) => pan,
        None => {
            let (iin, drn): (Iin, Drn) = (fields.needed("iin")?, fields.needed("iain")?);
            MeterPan::new(iin, drn).map_err(|error| fields.fault("iain", error))?
        }
    };
    Ok(Attributes {
        iin: meter.iin(),
        sgc: fields.needed_coded::<u32, _>("sgc")?,
        ti: fields.needed("ti")?,
        krn: fields.needed("krn")?,
        kt: fields.needed("kt")?,
        ken: fields.get("ken")?.unwrap_or(KeyExpiry(255)),
        ea: fields.needed_coded::<u8, _>("ea")?,
        dkga: fields.needed_coded::<u8, _>("dkga")?,
        base_date: fields.needed_coded::<u16, _>("base_date")?,
    })
}
