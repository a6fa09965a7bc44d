//! The inputs of each kind of vector, into a [`Task`].

use super::fields::{Fault, Fields, KeyBytes};
use super::moment::{tid, unix_seconds};
use super::sections::{SectionFields, SetFields};
use super::sources::{attributes, cipher, key_source};
use super::task::{ControlDigits, Request, Task, TokenContent};
use super::types;
use crate::sts::amount::{CURRENCY_PLACES, CurrencyAmount, Rounding, UNIT_PLACES, UnitAmount, parse_decimal};
use crate::sts::attributes::{EncryptionAlgorithm, KeyType};
use crate::sts::token::key_change::SetShape;
use crate::sts::token::{
    ClearBlock, Display, DisplayError, DisplayForm, Management, Payload, RegisterClass, Rnd, Service, Token,
};

/// The kind `token`: by the name of its type, or by class and subclass where the name is not known.
pub(super) fn token(vector: Fields<'_>, inputs: Fields<'_>) -> Result<Task, Fault> {
    let number = |field: &str| match vector.has(field) {
        true => vector.needed::<u8>(field),
        false => inputs.needed(field),
    };
    let (class, subclass) = match vector.text("type")?.as_deref().and_then(types::of_name) {
        Some(known) => known,
        None => (number("class")?, number("subclass")?),
    };
    if class == 1 {
        let content = display(inputs, subclass)?;
        return Ok(Task::Token { key: None, ea: EncryptionAlgorithm::Ea07, content });
    }
    let ea = cipher(inputs)?.ok_or_else(|| inputs.fault("ea", "missing"))?;
    let content = match (class, subclass) {
        (0, 4..=7) => currency(inputs, subclass)?,
        (0, 0..=3) => credit(inputs, subclass)?,
        (2, 3 | 4 | 8 | 9) => section(inputs, subclass, ea)?,
        (0, 8..=15) => raw_register(inputs, RegisterClass::Credit, subclass, inputs.needed("field")?)?,
        (2, 0..=15) => management(inputs, subclass)?,
        _ => return Err(vector.fault("type", "not one of the format, and no class and subclass")),
    };
    Ok(Task::Token { key: Some(key_source(inputs)?), ea, content })
}

/// Through the code that serves where the form and the manufacturer code exist, raw where they do
/// not.
fn display(inputs: Fields<'_>, subclass: u8) -> Result<TokenContent, Fault> {
    let control: u64 = inputs.needed("control")?;
    let manufacturer: u64 = inputs.get("mfr")?.unwrap_or(0);
    let form = match subclass {
        0 => Some(DisplayForm::TwoDigit),
        1 => Some(DisplayForm::FourDigit),
        2 => Some(DisplayForm::Extended),
        _ => None,
    };
    if let (Some(form), Ok(manufacturer)) = (form, manufacturer.try_into()) {
        match Display::new(form, control, manufacturer) {
            Ok(display) => return Ok(TokenContent::Display(display)),
            Err(DisplayError::Manufacturer { .. }) => {}
            Err(error) => return Err(inputs.fault("control", error)),
        }
    }
    let width = types::manufacturer_bits(subclass);
    if manufacturer >> width != 0 {
        return Err(inputs.fault("mfr", format!("more than {width} bits")));
    }
    if control >> (44 - width) != 0 {
        return Err(inputs.fault("control", format!("more than {} bits", 44 - width)));
    }
    ClearBlock::with_content(1, subclass, control << width | manufacturer)
        .map(TokenContent::Block)
        .ok_or_else(|| inputs.fault("subclass", "more than 4 bits"))
}

/// Units, or a decimal amount; or the raw register.
fn credit(inputs: Fields<'_>, subclass: u8) -> Result<TokenContent, Fault> {
    if let Some(register) = inputs.get("field")? {
        return raw_register(inputs, RegisterClass::Credit, subclass, register);
    }
    let (rnd, tid) = (rnd(inputs)?, tid(inputs)?);
    let amount = match inputs.get("units")? {
        Some(units) => UnitAmount::from_units(units).map_err(|error| inputs.fault("units", error))?,
        None => unit_amount(inputs)?,
    };
    let service = Service::ALL[usize::from(subclass & 3)];
    Ok(TokenContent::Payload { payload: Payload::Credit { service, amount }, rnd, tid })
}

/// A decimal amount. Where it is finer than 0.1 the published figures are those of the public peer,
/// which cuts it off from 1 upwards and rounds it up below (STS facts §3.5). That is not the
/// standard's rule, and the service does not follow it.
fn unit_amount(inputs: Fields<'_>) -> Result<UnitAmount, Fault> {
    let text = inputs.needed_text("amount")?;
    let cut = match text.split_once('.') {
        Some((whole, fraction))
            if whole.bytes().any(|digit| digit != b'0')
                && fraction.len() > UNIT_PLACES as usize
                && fraction.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            &text[..=whole.len() + UNIT_PLACES as usize]
        }
        _ => &text,
    };
    UnitAmount::parse(cut, Rounding::Up).map_err(|error| inputs.fault("amount", error))
}

fn currency(inputs: Fields<'_>, subclass: u8) -> Result<TokenContent, Fault> {
    let tid = tid(inputs)?;
    // Currency tokens have none; where a file gives one it is not looked at, but beside a raw
    // register.
    if let Some(register) = inputs.get::<u16>("field")? {
        let rnd = inputs.coded::<u8, Rnd>("rnd")?.map_or(0, Rnd::value);
        let content = u64::from(rnd) << 40 | u64::from(tid.value()) << 16 | u64::from(register);
        return ClearBlock::with_content(0, subclass, content)
            .map(TokenContent::Block)
            .ok_or_else(|| inputs.fault("field", "does not fit"));
    }
    let amount = match inputs.get("units")? {
        Some(units) => CurrencyAmount::from_units(units).map_err(|error| inputs.fault("units", error))?,
        None => {
            let units = parse_decimal(&inputs.needed_text("amount")?, CURRENCY_PLACES, Rounding::Up);
            units.and_then(CurrencyAmount::from_units).map_err(|error| inputs.fault("amount", error))?
        }
    };
    let service = Service::ALL[usize::from(subclass & 3)];
    let payload = Payload::Currency { service, amount };
    Ok(TokenContent::Payload { payload, rnd: Rnd::from_random(0), tid })
}

/// A register of class 2: through the code that serves where it has a meaning, raw where it has
/// not.
fn management(inputs: Fields<'_>, subclass: u8) -> Result<TokenContent, Fault> {
    let (rnd, tid) = (rnd(inputs)?, tid(inputs)?);
    let register = match (inputs.get::<u16>("field")?, subclass) {
        (Some(field), _) => field,
        (None, 0 | 6) => UnitAmount::from_units(inputs.needed("value")?)
            .map_err(|error| inputs.fault("value", error))?
            .code(),
        // The register of clear tamper is padding, and need not be given.
        (None, 5) => inputs.get("value")?.unwrap_or(0),
        (None, _) => inputs.needed("value")?,
    };
    match Management::from_register(subclass, register) {
        Ok(management) if management.register() == register => {
            Ok(TokenContent::Payload { payload: Payload::Management(management), rnd, tid })
        }
        _ => raw_register(inputs, RegisterClass::Management, subclass, register),
    }
}

fn raw_register(
    inputs: Fields<'_>,
    class: RegisterClass,
    subclass: u8,
    register: u16,
) -> Result<TokenContent, Fault> {
    Ok(TokenContent::Register { class, subclass, rnd: rnd(inputs)?, tid: tid(inputs)?, register })
}

/// A single section of a key change. The length of the new key says its form, and the cipher only
/// where there is none.
fn section(inputs: Fields<'_>, subclass: u8, ea: EncryptionAlgorithm) -> Result<TokenContent, Fault> {
    let key = match inputs.bytes("new_key")? {
        Some(key) => key,
        // The third of three carries no bit of it.
        None if subclass == 8 && ea.key_bytes() == 8 => KeyBytes::zeros(8),
        None => return Err(inputs.fault("new_key", "missing")),
    };
    let wanted =
        |field: &str, by: &[u8]| -> Result<bool, Fault> { Ok(by.contains(&subclass) || inputs.has(field)) };
    let fields = SectionFields {
        ken: inputs.get("new_ken")?.unwrap_or(255),
        krn: if wanted("new_krn", &[3])? { inputs.needed("new_krn")? } else { 0 },
        roll_over: inputs.flag("ro")?,
        three_tokens: inputs.flag("res")?,
        kt: if wanted("new_kt", &[3])? { inputs.needed("new_kt")? } else { KeyType::Ditk },
        ti: if wanted("new_ti", &[4])? { inputs.needed("new_ti")? } else { 0 },
        sgc: if wanted("new_sgc", &[8, 9])? { inputs.needed("new_sgc")? } else { 0 },
    };
    in_range(inputs, ["new_krn", "new_sgc"], &fields)?;
    fields
        .block(subclass, &key)
        .map(TokenContent::Block)
        .ok_or_else(|| inputs.fault("new_key", "neither 8 nor 16 bytes, or 8 for the fourth section"))
}

/// That the numbers fit the bits that they have; the others fit by their types.
fn in_range(at: Fields<'_>, names: [&str; 2], fields: &SectionFields) -> Result<(), Fault> {
    match fields {
        SectionFields { krn: 16.., .. } => Err(at.fault(names[0], "more than 4 bits")),
        SectionFields { sgc: 0x100_0000.., .. } => Err(at.fault(names[1], "more than 24 bits")),
        _ => Ok(()),
    }
}

/// The kind `keychange`. What the new key's attributes leave out is as the current key's.
pub(super) fn key_change(inputs: Fields<'_>, new: Fields<'_>) -> Result<Task, Fault> {
    let ea = match (cipher(inputs)?, cipher(new)?) {
        (Some(ea), _) | (None, Some(ea)) => ea,
        (None, None) => return Err(inputs.fault("ea", "missing")),
    };
    let shape = match new.get::<usize>("tokens")? {
        None => None,
        Some(2) => Some(SetShape::Pair),
        Some(3) => Some(SetShape::Triplet),
        Some(4) => Some(SetShape::Quadruple),
        Some(_) => return Err(new.fault("tokens", "not 2, 3 or 4")),
    };
    let roll_over = match (new.has("ro"), inputs.text("base_date")?, new.text("base_date")?) {
        (true, ..) => new.flag("ro")?,
        (false, Some(current), Some(new)) => current != new,
        (false, ..) => false,
    };
    let merged = new.over(inputs, &["decoder_key", "ken", "ro", "tokens", "datetime", "tid"]);
    let new = new.of_map(&merged);
    let carries_sgc = !matches!(shape, None | Some(SetShape::Pair)) || ea.key_bytes() == 16;
    let fields = SectionFields {
        ken: new.get("ken")?.unwrap_or(255),
        krn: new.needed("krn")?,
        roll_over,
        three_tokens: false,
        kt: new.needed("kt")?,
        ti: new.needed("ti")?,
        sgc: if carries_sgc { new.needed("sgc")? } else { new.get("sgc")?.unwrap_or(0) },
    };
    in_range(new, ["krn", "sgc"], &fields)?;
    let set = SetFields { ea, shape, fields };
    Ok(Task::KeyChange { current: key_source(inputs)?, new: key_source(new)?, set })
}

/// The kind `decode`.
pub(super) fn decode(inputs: Fields<'_>) -> Result<Task, Fault> {
    let digits: String = inputs.needed_text("token")?.split_whitespace().collect();
    let token: Token = digits.parse().map_err(|error| inputs.fault("token", error))?;
    let has_key = inputs.has("decoder_key") || inputs.has("vending_key");
    Ok(Task::Decode {
        token,
        ea: cipher(inputs)?.unwrap_or(EncryptionAlgorithm::Ea07),
        key: if has_key { Some(key_source(inputs)?) } else { None },
        base_date: inputs.coded::<u16, _>("base_date")?,
    })
}

/// The kind `block`.
pub(super) fn block(inputs: Fields<'_>) -> Result<Task, Fault> {
    let block = inputs.needed_bytes("in")?;
    let block: &[u8; 8] = block.as_bytes().try_into().map_err(|_| inputs.fault("in", "not 8 bytes"))?;
    let sample_tables = match inputs.text("tables")?.as_deref() {
        Some("sample") => true,
        None | Some("operational") => false,
        Some(_) => return Err(inputs.fault("tables", "neither sample nor operational")),
    };
    Ok(Task::Block {
        ea: inputs.needed_coded::<u8, _>("ea")?,
        key: inputs.needed_bytes("key")?,
        block: u64::from_be_bytes(*block),
        decrypt: inputs.flag("decrypt")?,
        sample_tables,
    })
}

/// The kind `blocks`: whichever the inputs are enough for.
pub(super) fn blocks(inputs: Fields<'_>) -> Result<Task, Fault> {
    let kt = inputs.needed("kt")?;
    let meter = inputs.text("iin")?.zip(inputs.text("iain")?);
    let control = match inputs.has("sgc") {
        true => Some(ControlDigits {
            sgc: inputs.needed("sgc")?,
            ti: inputs.needed("ti")?,
            krn: inputs.needed("krn")?,
        }),
        false => None,
    };
    if meter.is_none() && control.is_none() {
        return Err(inputs.fault("iin", "missing, as is sgc"));
    }
    Ok(Task::Blocks { kt, meter, control })
}

/// The kind `behaviour`; a key change without `new` is one to a key of the same attributes.
pub(super) fn behaviour(
    vector: Fields<'_>,
    inputs: Fields<'_>,
    new: Option<Fields<'_>>,
) -> Result<Task, Fault> {
    let current = attributes(inputs)?;
    let request = match vector.text("type")?.as_deref() {
        Some("keychange") => Request::KeyChange(match new {
            Some(new) => attributes(new)?,
            None => current,
        }),
        _ => Request::Token,
    };
    Ok(Task::Behaviour { attributes: current, time: unix_seconds(inputs)?, request })
}

fn rnd(inputs: Fields<'_>) -> Result<Rnd, Fault> {
    inputs.needed_coded::<u8, _>("rnd")
}
