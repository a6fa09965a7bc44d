//! A meter in software: it answers each token as the standard's meter would (STS facts §6).
//!
//! For tests, and for a person who plays a customer's keypad on test keys. Pure: the caller passes
//! the time in, which only the time-out of key-change sections looks at (a meter knows no
//! calendar), and keeps the [`MeterState`].

mod answer;
mod assembly;
mod memory;
mod state;

use std::collections::BTreeMap;

pub use answer::{Answer, Effect, NewKey, Rejection};
pub use assembly::SECTION_TIMEOUT_SECONDS;
pub use memory::REMEMBERED;
pub use state::{MeterState, SectionsState, StateError};

use assembly::{Assembly, Progress};
use memory::{Seen, TidMemory};

use super::attributes::{
    Attributes, EncryptionAlgorithm, KeyExpiry, KeyRevision, KeyType, SupplyGroupCode, TariffIndex,
};
use super::cipher::{CipherError, DecoderKey};
use super::meter::MeterPan;
use super::software::OwnedDecoderKey;
use super::tid::Tid;
use super::token::key_change::Section;
use super::token::{
    BlockError, Content, ContentError, CreditRegister, Display, DisplayForm, Management, Payload, Service,
    Token,
};

/// The most that a unit register holds, in tenths.
pub const UNIT_CAPACITY: u64 = 9_999_999_999;
/// The largest magnitude that a currency register holds, in 10^-5 of the base currency.
pub const CURRENCY_CAPACITY: i128 = 10_i128.pow(36) - 1;

/// A meter.
#[derive(Clone, Debug)]
pub struct VirtualMeter {
    meter: MeterPan,
    ea: EncryptionAlgorithm,
    key: OwnedDecoderKey,
    kt: KeyType,
    krn: KeyRevision,
    ti: TariffIndex,
    ken: KeyExpiry,
    sgc: Option<SupplyGroupCode>,
    /// By service, in tenths.
    credit: [u64; 4],
    /// By service, in 10^-5 of the base currency.
    currency: [i128; 4],
    tids: TidMemory,
    assembly: Assembly,
    tampered: bool,
    power_limit: Option<u32>,
    phase_unbalance_limit: Option<u32>,
    tariff_rate: Option<u16>,
    water_meter_factor: Option<u16>,
    extended: BTreeMap<u8, u16>,
}

impl VirtualMeter {
    /// A new meter that holds this decoder key. It takes nothing older than the minute of its
    /// manufacture, nor of it.
    ///
    /// # Errors
    /// [`CipherError`] when the key's length is not the cipher's.
    pub fn new(
        meter: MeterPan,
        attributes: &Attributes,
        key: DecoderKey<'_>,
        manufactured: Tid,
    ) -> Result<Self, CipherError> {
        let found = key.as_bytes().len();
        if found != attributes.ea.key_bytes() {
            return Err(CipherError { ea: attributes.ea, found });
        }
        Ok(Self {
            meter,
            ea: attributes.ea,
            key: OwnedDecoderKey::new(key),
            kt: attributes.kt,
            krn: attributes.krn,
            ti: attributes.ti,
            ken: attributes.ken,
            sgc: Some(attributes.sgc),
            credit: [0; 4],
            currency: [0; 4],
            tids: TidMemory::born(manufactured),
            assembly: Assembly::default(),
            tampered: false,
            power_limit: None,
            phase_unbalance_limit: None,
            tariff_rate: None,
            water_meter_factor: None,
            extended: BTreeMap::new(),
        })
    }

    /// Its number.
    pub fn meter(&self) -> MeterPan {
        self.meter
    }

    /// A unit register, in tenths of the service's unit.
    pub fn credit(&self, service: Service) -> u64 {
        self.credit[service as usize]
    }

    /// A currency register, in 10^-5 of the base currency.
    pub fn currency(&self, service: Service) -> i128 {
        self.currency[service as usize]
    }

    /// Someone opened the meter.
    pub fn tamper(&mut self) {
        self.tampered = true;
    }

    /// Takes what a customer typed: 20 digits, blanks and hyphens between them or not. `now` is in
    /// seconds since 1970-01-01T00:00Z.
    pub fn enter_digits(&mut self, typed: &str, now: i64) -> Answer {
        let digits: String = typed.chars().filter(|typed| !matches!(typed, ' ' | '-')).collect();
        match digits.parse() {
            Ok(token) => self.enter(&token, now),
            Err(error) => Answer::Rejected(Rejection::Format(error)),
        }
    }

    /// Takes a token. `now` is in seconds since 1970-01-01T00:00Z.
    pub fn enter(&mut self, token: &Token, now: i64) -> Answer {
        match self.execute(token, now) {
            Ok(effect) => Answer::Accepted(effect),
            Err(rejection) => Answer::Rejected(rejection),
        }
    }

    fn execute(&mut self, token: &Token, now: i64) -> Result<Effect, Rejection> {
        // The key fits the cipher since `new` and every change of it; a CRC error is what a wrong
        // key looks like.
        let unverified = token.decrypt(self.ea, self.key.borrow()).map_err(|_| Rejection::Crc)?;
        let block = unverified.verify().map_err(|error| match error {
            BlockError::Class => Rejection::Class,
            BlockError::Crc => Rejection::Crc,
        })?;
        match Content::parse(&block, self.ea)? {
            Content::Vending { payload, tid, .. } => self.vend(payload, tid),
            Content::Display(display) => self.display(display),
            // This meter is no manufacturer's.
            Content::Proprietary(own) => {
                Err(ContentError::UnknownSubclass { class: 1, subclass: own.subclass() }.into())
            }
            Content::KeyChange(section) => self.change_key(section, now),
        }
    }

    /// Credit and management: KEN, default key, TID, then the register.
    fn vend(&mut self, payload: Payload, tid: Tid) -> Result<Effect, Rejection> {
        if tid.is_past(self.ken) {
            return Err(Rejection::KeyExpired(tid));
        }
        let is_credit = !matches!(payload, Payload::Management(_));
        if is_credit && matches!(self.kt, KeyType::Ditk | KeyType::Ddtk) {
            return Err(Rejection::DefaultKey(self.kt));
        }
        match self.tids.look_up(tid) {
            Seen::New => {}
            Seen::Used => return Err(Rejection::Used(tid)),
            Seen::Old => return Err(Rejection::Old(tid)),
        }
        let effect = match payload {
            Payload::Credit { service, amount } => self.add_units(service, amount.units())?,
            Payload::Currency { service, amount } => self.add_currency(service, amount.units())?,
            Payload::Management(management) => self.manage(management),
        };
        // Only what took effect is used up: after an overflow the customer may try again.
        self.tids.remember(tid);
        Ok(effect)
    }

    fn add_units(&mut self, service: Service, units: u32) -> Result<Effect, Rejection> {
        let register = &mut self.credit[service as usize];
        let balance = register.saturating_add(u64::from(units));
        if balance > UNIT_CAPACITY {
            return Err(Rejection::Overflow);
        }
        *register = balance;
        Ok(Effect::Credited { service, units, balance })
    }

    fn add_currency(&mut self, service: Service, units: i128) -> Result<Effect, Rejection> {
        let register = &mut self.currency[service as usize];
        let balance = register.saturating_add(units);
        if !(-CURRENCY_CAPACITY..=CURRENCY_CAPACITY).contains(&balance) {
            return Err(Rejection::Overflow);
        }
        *register = balance;
        Ok(Effect::CreditedCurrency { service, units, balance })
    }

    fn manage(&mut self, management: Management) -> Effect {
        match management {
            Management::MaximumPowerLimit(watts) => {
                self.power_limit = Some(watts.units());
                Effect::PowerLimit(watts.units())
            }
            Management::MaximumPhasePowerUnbalance(watts) => {
                self.phase_unbalance_limit = Some(watts.units());
                Effect::PhaseUnbalanceLimit(watts.units())
            }
            Management::ClearCredit(register) => {
                self.clear(register);
                Effect::Cleared(register)
            }
            Management::TariffRate(rate) => {
                self.tariff_rate = Some(rate);
                Effect::TariffRate(rate)
            }
            Management::ClearTamper => {
                self.tampered = false;
                Effect::TamperCleared
            }
            Management::WaterMeterFactor(factor) => {
                self.water_meter_factor = Some(factor);
                Effect::WaterMeterFactor(factor)
            }
            Management::Extended(set) => {
                self.extended.insert(set.index(), set.value());
                Effect::Extended(set)
            }
        }
    }

    fn clear(&mut self, register: CreditRegister) {
        match register.value() {
            single @ 0..=3 => self.credit[usize::from(single)] = 0,
            single @ 4..=7 => self.currency[usize::from(single - 4)] = 0,
            _ => (self.credit, self.currency) = ([0; 4], [0; 4]),
        }
    }

    /// Each form of display token speaks to the meters whose manufacturer code has its number of
    /// digits; code 0 to all of them.
    fn display(&self, display: Display) -> Result<Effect, Rejection> {
        let drn = self.meter.drn();
        let form_fits = match display.form() {
            DisplayForm::TwoDigit => !drn.has_four_digit_manufacturer(),
            DisplayForm::FourDigit => drn.has_four_digit_manufacturer(),
            DisplayForm::Extended => true,
        };
        let code_fits =
            matches!(display.manufacturer(), 0) || display.manufacturer() == drn.manufacturer_code();
        if form_fits && code_fits { Ok(Effect::Displayed(display)) } else { Err(Rejection::Manufacturer) }
    }

    fn change_key(&mut self, section: Section, now: i64) -> Result<Effect, Rejection> {
        self.assembly.add(section, now);
        let (key, new) = match self.assembly.progress(self.ea) {
            Progress::Missing(missing) => return Ok(Effect::SectionKept { missing }),
            Progress::Complete(key, new) => (key, new),
            Progress::Mismatch => {
                self.assembly = Assembly::default();
                return Err(Rejection::Sections);
            }
        };
        self.assembly = Assembly::default();
        if !self.kt.may_become(new.kt) {
            return Err(Rejection::KeyType { current: self.kt, new: new.kt });
        }
        self.key = key;
        (self.kt, self.krn, self.ti, self.ken) = (new.kt, new.krn, new.ti, new.ken);
        // Without a third section the meter does not know its supply group any more (STS facts
        // §3.8).
        self.sgc = new.sgc;
        if new.roll_over {
            self.tids = TidMemory::cleared();
        }
        Ok(Effect::KeyChanged(new))
    }
}

#[cfg(test)]
mod tests;
