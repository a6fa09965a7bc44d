//! Every field of a token, by the names of the vector format.
//!
//! The bits are named as they are, whether or not the CRC holds and a meter would take them: which
//! fields a vector expects, the vector says.

use serde_json::{Map, Value};

use super::types;
use crate::sts::amount::{CURRENCY_PLACES, CurrencyAmount, UNIT_PLACES, UnitAmount, format_decimal};
use crate::sts::attributes::{BaseDate, EncryptionAlgorithm};
use crate::sts::cipher::DecoderKey;
use crate::sts::tid::Tid;
use crate::sts::token::Token;

/// Decodes a token and names what is in it. The key bits of key-change sections are among it: for
/// public test vectors.
pub(super) fn decode(
    token: &Token,
    ea: EncryptionAlgorithm,
    key: Option<DecoderKey<'_>>,
    base_date: Option<BaseDate>,
) -> Result<Map<String, Value>, String> {
    let unverified = match (token.unencrypted(), key) {
        (Some(unverified), _) => unverified,
        (None, Some(key)) => token.decrypt(ea, key).map_err(|error| error.to_string())?,
        (None, None) => return Err("no decoder key of 8 or 16 bytes".to_owned()),
    };
    let is_long = key.map_or(ea.key_bytes() == 16, |key| key.as_bytes().len() == 16);
    let (class, subclass) = (unverified.class(), (unverified.bits() >> 60) as u8);
    let mut fields = Fields { map: Map::new(), bits: unverified.bits() };
    fields.put("class", class);
    fields.put("subclass", subclass);
    fields.put("crc_ok", unverified.verify().is_ok());
    if let Some(name) = types::name_of(class, subclass) {
        fields.put("type", name);
    }
    match (class, subclass) {
        (0, 4..=7) => fields.currency(base_date),
        (1, _) => fields.display(subclass),
        (2, 3 | 4 | 8 | 9) => fields.section(subclass, is_long),
        (0 | 2, _) => fields.register(class, subclass, base_date),
        _ => {}
    }
    Ok(fields.map)
}

struct Fields {
    map: Map<String, Value>,
    bits: u64,
}

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.map.insert(name.to_owned(), value.into());
    }

    /// `width` bits (below 64) from bit `lowest` up.
    fn field(&self, lowest: u32, width: u32) -> u64 {
        self.bits >> lowest & ((1 << width) - 1)
    }

    fn identifier(&mut self, base_date: Option<BaseDate>) {
        // 24 bits always are a TID.
        let Ok(tid) = Tid::new(self.field(32, 24) as u32) else { return };
        self.put("tid", tid.value());
        if let Some(time) = base_date.and_then(|base| wall_time(tid.unix_seconds(base))) {
            self.put("datetime", time);
        }
    }

    /// RND, TID and a register of 16 bits.
    fn register(&mut self, class: u8, subclass: u8, base_date: Option<BaseDate>) {
        self.identifier(base_date);
        let register = self.field(16, 16) as u16;
        self.put("rnd", self.field(56, 4));
        self.put("field", register);
        let amount = UnitAmount::from_code(register).units();
        match (class, subclass) {
            (0, 0..=3) => {
                self.put("units", amount);
                self.put("amount", format_decimal(i128::from(amount), UNIT_PLACES));
            }
            // Watts.
            (2, 0 | 6) => self.put("value", amount),
            _ => self.put("value", register),
        }
    }

    /// Sign and exponent in place of the RND (STS facts §3.4).
    fn currency(&mut self, base_date: Option<BaseDate>) {
        self.identifier(base_date);
        let exponent = self.field(56, 3) << 2 | self.field(30, 2);
        let mantissa = self.field(16, 14) as u16;
        let units = CurrencyAmount::from_fields(self.field(59, 1) == 1, exponent as u8, mantissa).units();
        self.put("field", self.field(16, 16));
        self.put("units", units.to_string());
        self.put("amount", format_decimal(units, CURRENCY_PLACES));
    }

    fn display(&mut self, subclass: u8) {
        let width = types::manufacturer_bits(subclass);
        self.put("control", self.field(16 + width, 44 - width));
        self.put("mfr", self.field(16, width));
    }

    /// A section of a key change (STS facts §3.8).
    fn section(&mut self, subclass: u8, is_long: bool) {
        let key = self.field(16, 32);
        match (subclass, is_long) {
            (3, _) => {
                self.put("kenho", self.field(56, 4));
                self.put("krn", self.field(52, 4));
                self.put("ro", self.field(51, 1));
                self.put("res", self.field(50, 1));
                self.put("kt", self.field(48, 2));
                self.put("nkho", key);
            }
            (4, _) => {
                self.put("kenlo", self.field(56, 4));
                self.put("ti", self.field(48, 8));
                self.put("nklo", key);
            }
            (8, false) => self.put("sgc", self.field(36, 24)),
            _ => {
                self.put(if subclass == 8 { "sgclo" } else { "sgcho" }, self.field(48, 12));
                // Sources number the two middle parts both ways; the subclass says which part it
                // is.
                self.put("nkmo1", key);
                self.put("nkmo2", key);
            }
        }
    }
}

/// UTC, without the Z, as the format writes it.
fn wall_time(unix_seconds: i64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_second(unix_seconds).ok()?;
    Some(timestamp.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}
