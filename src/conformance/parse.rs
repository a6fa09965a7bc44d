//! The inputs of each kind of vector, into a [`Task`].

use super::fields::{Fault, Fields};
use super::vectors::{KeySource, Request, Task, TokenContent};
use crate::sts::amount::{CurrencyAmount, Rounding, UnitAmount};
use crate::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry};
use crate::sts::derivation::{Derivation, des_block};
use crate::sts::meter::{Drn, Iin, MeterPan};
use crate::sts::tid::Tid;
use crate::sts::token::key_change::{KeyChange, KeyPart, Section, SetShape};
use crate::sts::token::{Display, DisplayForm, Management, Payload, RegisterClass, Rnd, Service};

/// The kind `token`: by the name of its type, or by class and subclass where the name is not known.
pub(super) fn token(vector: Fields<'_>, inputs: Fields<'_>) -> Result<Task, Fault> {
    let (class, subclass) = match vector.text("type")?.as_deref() {
        Some("credit_electricity") => (0, 0),
        Some("credit_water") => (0, 1),
        Some("credit_gas") => (0, 2),
        Some("credit_time") => (0, 3),
        Some("currency_electricity") => (0, 4),
        Some("currency_water") => (0, 5),
        Some("currency_gas") => (0, 6),
        Some("currency_time") => (0, 7),
        Some("test_display_1") => (1, 0),
        Some("test_display_2") => (1, 1),
        Some("test_display_ext") => (1, 2),
        Some("set_max_power_limit") => (2, 0),
        Some("clear_credit") => (2, 1),
        Some("set_tariff_rate") => (2, 2),
        Some("set_key_1") => (2, 3),
        Some("set_key_2") => (2, 4),
        Some("clear_tamper") => (2, 5),
        Some("set_max_phase_unbalance") => (2, 6),
        Some("set_water_factor") => (2, 7),
        Some("set_key_3") => (2, 8),
        Some("set_key_4") => (2, 9),
        Some("extended") => (2, 10),
        _ => (vector.needed("class")?, vector.needed("subclass")?),
    };
    if class == 1 {
        let content = TokenContent::Display(display(vector, inputs, subclass)?);
        return Ok(Task::Token { key: None, ea: EncryptionAlgorithm::Ea07, content });
    }
    let ea: EncryptionAlgorithm = inputs.needed_coded::<u8, _>("ea")?;
    let content = match (class, subclass) {
        (0, 4..=7) => currency(inputs, subclass)?,
        (0, 0..=3) => credit(inputs, subclass)?,
        (2, 3 | 4 | 8 | 9) => TokenContent::Section(section(inputs, subclass, ea)?),
        (2, 0..=15) => management(inputs, subclass)?,
        _ => return Err(vector.fault("type", "not one of the format")),
    };
    Ok(Task::Token { key: Some(key_source(inputs)?), ea, content })
}

fn display(vector: Fields<'_>, inputs: Fields<'_>, subclass: u8) -> Result<Display, Fault> {
    let form = match subclass {
        0 => DisplayForm::TwoDigit,
        1 => DisplayForm::FourDigit,
        2 => DisplayForm::Extended,
        _ => return Err(vector.fault("subclass", "no display token known here")),
    };
    let manufacturer = inputs.get("mfr")?.unwrap_or(0);
    Display::new(form, inputs.needed("control")?, manufacturer)
        .map_err(|error| inputs.fault("control", error))
}

/// Units, or a decimal amount, which the standard rounds up; or the raw register.
fn credit(inputs: Fields<'_>, subclass: u8) -> Result<TokenContent, Fault> {
    let (rnd, tid) = (rnd(inputs)?, tid(inputs)?);
    if let Some(register) = inputs.get("field")? {
        return Ok(TokenContent::Register { class: RegisterClass::Credit, subclass, rnd, tid, register });
    }
    let amount = match inputs.get("units")? {
        Some(units) => UnitAmount::from_units(units).map_err(|error| inputs.fault("units", error))?,
        None => UnitAmount::parse(&inputs.needed_text("amount")?, Rounding::Up)
            .map_err(|error| inputs.fault("amount", error))?,
    };
    let service = Service::ALL[usize::from(subclass & 3)];
    Ok(TokenContent::Payload { payload: Payload::Credit { service, amount }, rnd, tid })
}

fn currency(inputs: Fields<'_>, subclass: u8) -> Result<TokenContent, Fault> {
    let amount = match inputs.get("units")? {
        Some(units) => CurrencyAmount::from_units(units).map_err(|error| inputs.fault("units", error))?,
        None => CurrencyAmount::parse(&inputs.needed_text("amount")?, Rounding::Up)
            .map_err(|error| inputs.fault("amount", error))?,
    };
    let service = Service::ALL[usize::from(subclass & 3)];
    let payload = Payload::Currency { service, amount };
    // Currency tokens have none; where a file gives one it is not looked at.
    Ok(TokenContent::Payload { payload, rnd: Rnd::from_random(0), tid: tid(inputs)? })
}

/// A register of class 2: through the code that serves where it has a meaning, raw where it has not.
fn management(inputs: Fields<'_>, subclass: u8) -> Result<TokenContent, Fault> {
    let (rnd, tid) = (rnd(inputs)?, tid(inputs)?);
    let is_power = matches!(subclass, 0 | 6);
    let register = match (inputs.get::<u16>("field")?, is_power) {
        (Some(field), _) => field,
        (None, true) => UnitAmount::from_units(inputs.needed("value")?)
            .map_err(|error| inputs.fault("value", error))?
            .code(),
        (None, false) => inputs.get("value")?.unwrap_or(0),
    };
    match Management::from_register(subclass, register) {
        Ok(management) if management.register() == register => {
            Ok(TokenContent::Payload { payload: Payload::Management(management), rnd, tid })
        }
        _ => {
            let class = RegisterClass::Management;
            Ok(TokenContent::Register { class, subclass, rnd, tid, register })
        }
    }
}

/// A single section of a key change; `new_sgc` is the number whose bits it carries.
fn section(inputs: Fields<'_>, subclass: u8, ea: EncryptionAlgorithm) -> Result<Section, Fault> {
    let ken = || inputs.get::<u8>("new_ken").map(|ken| ken.unwrap_or(255));
    match subclass {
        3 => Ok(Section::First {
            ken_high: ken()? >> 4,
            krn: inputs.needed("new_krn")?,
            roll_over: inputs.flag("ro")?,
            three_tokens: inputs.flag("res")?,
            kt: inputs.needed("new_kt")?,
            key: key_part(inputs, ea, 0)?,
        }),
        4 => Ok(Section::Second {
            ken_low: ken()? & 0xF,
            ti: inputs.needed("new_ti")?,
            key: key_part(inputs, ea, ea.key_bytes() - 4)?,
        }),
        8 if ea.key_bytes() == 8 => {
            Ok(Section::ThirdOfThree { sgc: inputs.needed_coded::<u32, _>("new_sgc")? })
        }
        8 => Ok(Section::ThirdOfFour {
            sgc_low: (inputs.needed::<u32>("new_sgc")? & 0xFFF) as u16,
            key: key_part(inputs, ea, 4)?,
        }),
        _ => Ok(Section::Fourth {
            sgc_high: (inputs.needed::<u32>("new_sgc")? >> 12 & 0xFFF) as u16,
            key: key_part(inputs, ea, 8)?,
        }),
    }
}

/// Four bytes of the new key from this one on.
fn key_part(inputs: Fields<'_>, ea: EncryptionAlgorithm, from: usize) -> Result<KeyPart, Fault> {
    let key = inputs.needed_bytes("new_key")?;
    key.as_bytes()
        .get(from..)
        .filter(|_| key.as_bytes().len() == ea.key_bytes())
        .and_then(|rest| rest.first_chunk())
        .map(|part| KeyPart::new(*part))
        .ok_or_else(|| inputs.fault("new_key", format!("not the {} bytes of {ea}", ea.key_bytes())))
}

/// The kind `keychange`.
pub(super) fn key_change(inputs: Fields<'_>, new: Fields<'_>) -> Result<Task, Fault> {
    let ea: EncryptionAlgorithm = inputs.needed_coded::<u8, _>("ea")?;
    let shape = match new.get::<usize>("tokens")? {
        None => SetShape::new(ea, false),
        Some(2) => SetShape::Pair,
        Some(3) => SetShape::Triplet,
        Some(4) => SetShape::Quadruple,
        Some(_) => return Err(new.fault("tokens", "not 2, 3 or 4")),
    };
    let roll_over = match new.has("ro") {
        true => new.flag("ro")?,
        false => inputs.text("base_date")? != new.text("base_date")?,
    };
    let change = KeyChange {
        ea,
        shape,
        ken: new.get("ken")?.unwrap_or(KeyExpiry(255)),
        krn: new.needed("krn")?,
        kt: new.needed("kt")?,
        ti: new.needed("ti")?,
        sgc: new.needed_coded::<u32, _>("sgc")?,
        roll_over,
    };
    Ok(Task::KeyChange { current: key_source(inputs)?, new: key_source(new)?, change })
}

/// The kind `decode`.
pub(super) fn decode(inputs: Fields<'_>) -> Result<Task, Fault> {
    Ok(Task::Decode {
        token: inputs.needed_text("token")?,
        ea: inputs.coded::<u8, _>("ea")?.unwrap_or(EncryptionAlgorithm::Ea07),
        key: inputs.bytes("decoder_key")?,
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

/// The kind `blocks`.
pub(super) fn blocks(inputs: Fields<'_>, pan_block: bool) -> Result<Task, Fault> {
    let kt = inputs.needed("kt")?;
    if pan_block {
        return Ok(Task::PanBlock { iin: inputs.needed_text("iin")?, iain: inputs.needed_text("iain")?, kt });
    }
    Ok(Task::ControlBlock {
        kt,
        sgc: inputs.needed_coded::<u32, _>("sgc")?,
        ti: inputs.needed("ti")?,
        krn: inputs.needed("krn")?,
    })
}

/// The kind `behaviour`; a key change without `new` is one to a key of the same attributes.
pub(super) fn behaviour(
    vector: Fields<'_>,
    inputs: Fields<'_>,
    new: Option<Fields<'_>>,
) -> Result<Task, Fault> {
    let (attributes, _) = attributes(inputs)?;
    let request = match vector.text("type")?.as_deref() {
        Some("keychange") => Request::KeyChange(match new {
            Some(new) => self::attributes(new)?.0,
            None => attributes,
        }),
        _ => Request::Token,
    };
    Ok(Task::Behaviour { attributes, time: unix_seconds(inputs)?, request })
}

/// A decoder key that is given, or what it is derived from.
pub(super) fn key_source(fields: Fields<'_>) -> Result<KeySource, Fault> {
    if let Some(key) = fields.bytes("decoder_key")? {
        return Ok(KeySource::Given(key));
    }
    let vending_key = fields.needed_bytes("vending_key")?;
    let (attributes, meter) = attributes(fields)?;
    if attributes.dkga == Dkga::Dkga01 {
        return Ok(KeySource::Dkga01 { vending_key, block: des_block(&attributes, &meter) });
    }
    let derivation = Derivation::new(&attributes, &meter).map_err(|error| fields.fault("dkga", error))?;
    Ok(KeySource::Derived { vending_key, derivation })
}

fn attributes(fields: Fields<'_>) -> Result<(Attributes, MeterPan), Fault> {
    let meter: MeterPan = match fields.get("pan")? {
        Some(pan) => pan,
        None => {
            let (iin, drn): (Iin, Drn) = (fields.needed("iin")?, fields.needed("iain")?);
            MeterPan::new(iin, drn).map_err(|error| fields.fault("iain", error))?
        }
    };
    let attributes = Attributes {
        iin: meter.iin(),
        sgc: fields.needed_coded::<u32, _>("sgc")?,
        ti: fields.needed("ti")?,
        krn: fields.needed("krn")?,
        kt: fields.needed("kt")?,
        ken: fields.get("ken")?.unwrap_or(KeyExpiry(255)),
        ea: fields.needed_coded::<u8, _>("ea")?,
        dkga: fields.needed_coded::<u8, _>("dkga")?,
        // DKGA01 to 03 do without.
        base_date: fields.coded::<u16, _>("base_date")?.unwrap_or(BaseDate::Y1993),
    };
    Ok((attributes, meter))
}

fn rnd(inputs: Fields<'_>) -> Result<Rnd, Fault> {
    inputs.needed_coded::<u8, _>("rnd")
}

/// Given as it is, or the minute of a UTC time.
fn tid(inputs: Fields<'_>) -> Result<Tid, Fault> {
    if let Some(tid) = inputs.get("tid")? {
        return Tid::new(tid).map_err(|error| inputs.fault("tid", error));
    }
    let base: BaseDate = inputs.needed_coded::<u16, _>("base_date")?;
    base.tid_at(unix_seconds(inputs)?).map_err(|error| inputs.fault("datetime", error))
}

/// A UTC wall time, with or without the Z.
fn unix_seconds(inputs: Fields<'_>) -> Result<i64, Fault> {
    let text = inputs.needed_text("datetime")?;
    let civil: jiff::civil::DateTime =
        text.trim_end_matches('Z').parse().map_err(|error| inputs.fault("datetime", error))?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC);
    Ok(zoned.map_err(|error| inputs.fault("datetime", error))?.timestamp().as_second())
}
