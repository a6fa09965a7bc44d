//! Every field of a token, by the names of the vector format.

use serde_json::{Map, Value};

use super::fields::KeyBytes;
use crate::sts::amount::{CURRENCY_PLACES, UNIT_PLACES, format_decimal};
use crate::sts::attributes::{BaseDate, EncryptionAlgorithm};
use crate::sts::cipher::DecoderKey;
use crate::sts::tid::Tid;
use crate::sts::token::key_change::{KeyPart, Section};
use crate::sts::token::{Content, DisplayForm, Management, Payload, Rnd, Service, Token};

/// Decodes a token and names what is in it. The key bits of key-change sections are among it: for public test vectors.
pub(super) fn decode(
    token: &str,
    ea: EncryptionAlgorithm,
    key: Option<&KeyBytes>,
    base_date: Option<BaseDate>,
) -> Result<Map<String, Value>, String> {
    let token: Token = token.parse().map_err(|error| format!("{error}"))?;
    let unverified = match (token.unencrypted(), key.and_then(|key| DecoderKey::from_slice(key.as_bytes()))) {
        (Some(unverified), _) => unverified,
        (None, Some(key)) => token.decrypt(ea, key).map_err(|error| error.to_string())?,
        (None, None) => return Err("no decoder key of 8 or 16 bytes".to_owned()),
    };
    let mut fields = Fields(Map::new());
    fields.put("class", unverified.class());
    fields.put("subclass", unverified.bits() >> 60);
    let block = unverified.verify();
    fields.put("crc_ok", block.is_ok());
    // Fields of a block that is none are noise.
    let Ok(block) = block else { return Ok(fields.0) };
    let content = Content::parse(&block, ea).map_err(|error| error.to_string())?;
    fields.put("type", type_name(&content));
    match content {
        Content::Vending { payload, rnd, tid } => fields.vending(payload, rnd, tid, base_date, block.bits()),
        Content::Display(display) => {
            fields.put("control", display.control());
            fields.put("mfr", display.manufacturer());
        }
        Content::KeyChange(section) => fields.section(&section),
    }
    Ok(fields.0)
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn vending(
        &mut self,
        payload: Payload,
        rnd: Option<Rnd>,
        tid: Tid,
        base_date: Option<BaseDate>,
        bits: u64,
    ) {
        if let Some(rnd) = rnd {
            self.put("rnd", rnd.value());
            self.put("field", bits >> 16 & 0xFFFF);
        }
        self.put("tid", tid.value());
        if let Some(time) = base_date.and_then(|base| wall_time(tid.unix_seconds(base))) {
            self.put("datetime", time);
        }
        match payload {
            Payload::Credit { amount, .. } => {
                self.put("units", amount.units());
                self.put("amount", format_decimal(i128::from(amount.units()), UNIT_PLACES));
            }
            Payload::Currency { amount, .. } => {
                self.put("units", amount.units().to_string());
                self.put("amount", format_decimal(amount.units(), CURRENCY_PLACES));
            }
            Payload::Management(
                Management::MaximumPowerLimit(watts) | Management::MaximumPhasePowerUnbalance(watts),
            ) => self.put("value", watts.units()),
            Payload::Management(_) => self.put("value", bits >> 16 & 0xFFFF),
        }
    }

    fn section(&mut self, section: &Section) {
        match section {
            Section::First { ken_high, krn, roll_over, three_tokens, kt, key } => {
                self.put("kenho", *ken_high);
                self.put("krn", krn.value());
                self.put("ro", u8::from(*roll_over));
                self.put("res", u8::from(*three_tokens));
                self.put("kt", kt.value());
                self.put("nkho", number(key));
            }
            Section::Second { ken_low, ti, key } => {
                self.put("kenlo", *ken_low);
                self.put("ti", ti.value());
                self.put("nklo", number(key));
            }
            Section::ThirdOfThree { sgc } => self.put("sgc", sgc.value()),
            Section::ThirdOfFour { sgc_low, key } => {
                self.put("sgclo", *sgc_low);
                self.put("nkmo1", number(key));
            }
            Section::Fourth { sgc_high, key } => {
                self.put("sgcho", *sgc_high);
                self.put("nkmo2", number(key));
            }
        }
    }
}

fn number(key: &KeyPart) -> u32 {
    u32::from_be_bytes(*key.as_bytes())
}

/// UTC, without the Z, as the format writes it.
fn wall_time(unix_seconds: i64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_second(unix_seconds).ok()?;
    Some(timestamp.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// The format's name for what a token is.
fn type_name(content: &Content) -> &'static str {
    match content {
        Content::Vending { payload: Payload::Credit { service, .. }, .. } => match service {
            Service::Electricity => "credit_electricity",
            Service::Water => "credit_water",
            Service::Gas => "credit_gas",
            Service::Time => "credit_time",
        },
        Content::Vending { payload: Payload::Currency { service, .. }, .. } => match service {
            Service::Electricity => "currency_electricity",
            Service::Water => "currency_water",
            Service::Gas => "currency_gas",
            Service::Time => "currency_time",
        },
        Content::Vending { payload: Payload::Management(management), .. } => match management {
            Management::MaximumPowerLimit(_) => "set_max_power_limit",
            Management::ClearCredit(_) => "clear_credit",
            Management::TariffRate(_) => "set_tariff_rate",
            Management::ClearTamper => "clear_tamper",
            Management::MaximumPhasePowerUnbalance(_) => "set_max_phase_unbalance",
            Management::WaterMeterFactor(_) => "set_water_factor",
            Management::Extended(_) => "extended",
        },
        Content::Display(display) => match display.form() {
            DisplayForm::TwoDigit => "test_display_1",
            DisplayForm::FourDigit => "test_display_2",
            DisplayForm::Extended => "test_display_ext",
        },
        Content::KeyChange(section) => match section.subclass() {
            3 => "set_key_1",
            4 => "set_key_2",
            8 => "set_key_3",
            _ => "set_key_4",
        },
    }
}
