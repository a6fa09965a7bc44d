//! The meter as plain data, for whoever keeps it. It holds the decoder key: keep it encrypted.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::assembly::Assembly;
use super::memory::TidMemory;
use super::{CURRENCY_CAPACITY, UNIT_CAPACITY, VirtualMeter};
use crate::sts::attributes::{AttributeError, EncryptionAlgorithm, KeyExpiry};
use crate::sts::cipher::DecoderKey;
use crate::sts::meter::MeterError;
use crate::sts::software::OwnedDecoderKey;
use crate::sts::tid::{Tid, TidError};
use crate::sts::token::ClearBlock;
use crate::sts::token::key_change::Section;

/// Everything that a meter knows. The key and the sections of a key change are wiped when it is
/// dropped.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterState {
    /// MeterPAN, 18 digits.
    pub meter: String,
    /// Encryption algorithm: 7, 9 or 11.
    pub ea: u8,
    /// Decoder key, hex, most significant byte first.
    pub decoder_key: String,
    /// Key type, 0..=3.
    pub key_type: u8,
    /// Key revision number, 1..=9.
    pub key_revision: u8,
    /// Tariff index, 0..=99.
    pub tariff_index: u8,
    /// Key expiry number.
    pub key_expiry: u8,
    /// Supply group code, 6 digits; unknown after a key change of two tokens.
    pub supply_group: Option<String>,
    /// Unit registers in tenths: electricity, water, gas, time.
    pub credit: [u64; 4],
    /// Currency registers in 10^-5 of the base currency, as text, in the same order.
    pub currency: [String; 4],
    /// The TIDs remembered.
    pub tids: Vec<u32>,
    /// A key change under way.
    pub key_change: Option<SectionsState>,
    /// Whether someone opened it.
    pub tampered: bool,
    /// Largest load, in watts.
    pub power_limit: Option<u32>,
    /// Largest difference between phases, in watts.
    pub phase_unbalance_limit: Option<u32>,
    /// Raw register.
    pub tariff_rate: Option<u16>,
    /// Raw register.
    pub water_meter_factor: Option<u16>,
    /// Extended functions: index, value.
    pub extended: Vec<(u8, u16)>,
}

/// The sections of a key change that have been entered.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionsState {
    /// When the first was, in seconds since 1970-01-01T00:00Z.
    pub started: i64,
    /// Their clear blocks, hex.
    pub blocks: Vec<String>,
}

impl Drop for MeterState {
    fn drop(&mut self) {
        self.decoder_key.zeroize();
    }
}

impl Drop for SectionsState {
    fn drop(&mut self) {
        self.blocks.zeroize();
    }
}

impl std::fmt::Debug for MeterState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeterState").field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SectionsState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SectionsState({} sections)", self.blocks.len())
    }
}

/// Why a state is no meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Its number.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// An attribute of its key.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A TID.
    #[error(transparent)]
    Tid(#[from] TidError),
    /// Not the hex digits of a key of its cipher.
    #[error("the decoder key is not one of {0}")]
    Key(EncryptionAlgorithm),
    /// A register holds more than it can.
    #[error("a credit register is no number, or beyond its capacity")]
    Register,
    /// The sections of a key change.
    #[error("the key change under way is not readable")]
    KeyChange,
}

impl VirtualMeter {
    /// The meter as plain data.
    pub fn state(&self) -> MeterState {
        let sections = &self.assembly.sections;
        MeterState {
            meter: self.meter.to_string(),
            ea: self.ea.code(),
            decoder_key: hex::encode(self.key.borrow().as_bytes()),
            key_type: self.kt.value(),
            key_revision: self.krn.value(),
            tariff_index: self.ti.value(),
            key_expiry: self.ken.0,
            supply_group: self.sgc.map(|sgc| sgc.to_string()),
            credit: self.credit,
            currency: self.currency.map(|units| units.to_string()),
            tids: self.tids.tids().iter().map(|tid| tid.value()).collect(),
            key_change: (!sections.is_empty()).then(|| SectionsState {
                started: self.assembly.started,
                blocks: sections.iter().map(|section| format!("{:016x}", section.block().bits())).collect(),
            }),
            tampered: self.tampered,
            power_limit: self.power_limit,
            phase_unbalance_limit: self.phase_unbalance_limit,
            tariff_rate: self.tariff_rate,
            water_meter_factor: self.water_meter_factor,
            extended: self.extended.iter().map(|(index, value)| (*index, *value)).collect(),
        }
    }

    /// The meter of a state.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn from_state(state: &MeterState) -> Result<Self, StateError> {
        let ea = EncryptionAlgorithm::try_from(state.ea)?;
        if state.credit.iter().any(|units| *units > UNIT_CAPACITY) {
            return Err(StateError::Register);
        }
        let mut currency = [0; 4];
        for (register, text) in currency.iter_mut().zip(&state.currency) {
            *register = text
                .parse()
                .ok()
                .filter(|units| (-CURRENCY_CAPACITY..=CURRENCY_CAPACITY).contains(units))
                .ok_or(StateError::Register)?;
        }
        let tids = state.tids.iter().map(|tid| Tid::new(*tid)).collect::<Result<_, _>>()?;
        Ok(Self {
            meter: state.meter.parse()?,
            ea,
            key: key(&state.decoder_key, ea)?,
            kt: state.key_type.try_into()?,
            krn: state.key_revision.try_into()?,
            ti: state.tariff_index.try_into()?,
            ken: KeyExpiry(state.key_expiry),
            sgc: state.supply_group.as_deref().map(str::parse).transpose()?,
            credit: state.credit,
            currency,
            tids: TidMemory::of(tids),
            assembly: match &state.key_change {
                Some(sections) => assembly(sections, ea)?,
                None => Assembly::default(),
            },
            tampered: state.tampered,
            power_limit: state.power_limit,
            phase_unbalance_limit: state.phase_unbalance_limit,
            tariff_rate: state.tariff_rate,
            water_meter_factor: state.water_meter_factor,
            extended: state.extended.iter().copied().collect(),
        })
    }
}

fn key(text: &str, ea: EncryptionAlgorithm) -> Result<OwnedDecoderKey, StateError> {
    let bytes = Zeroizing::new(hex::decode(text).map_err(|_| StateError::Key(ea))?);
    DecoderKey::from_slice(&bytes)
        .filter(|key| key.as_bytes().len() == ea.key_bytes())
        .map(OwnedDecoderKey::new)
        .ok_or(StateError::Key(ea))
}

fn assembly(state: &SectionsState, ea: EncryptionAlgorithm) -> Result<Assembly, StateError> {
    let mut assembly = Assembly::default();
    for text in &state.blocks {
        let bits = u64::from_str_radix(text, 16).map_err(|_| StateError::KeyChange)?;
        let block = ClearBlock::from_parts(2, bits).map_err(|_| StateError::KeyChange)?;
        let section = Section::parse(&block, ea).map_err(|_| StateError::KeyChange)?;
        assembly.add(section, state.started);
    }
    Ok(assembly)
}
