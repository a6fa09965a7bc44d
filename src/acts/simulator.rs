//! A meter in software, and tokens for it under test keys that callers give in the clear: to learn
//! what a meter does. No key of the HSM is used, and nothing is kept.

use zeroize::Zeroizing;

use super::{Acts, Refusal};
use crate::sts::{
    attributes::{Attributes, BaseDate},
    derivation::Derivation,
    meter::MeterPan,
    software::{OwnedDecoderKey, derive},
    tid::{Tid, TidError},
    token::{Payload, Rnd, Token, key_change::KeyChange},
    virtual_meter::{Answer, VirtualMeter},
};

/// A vending key in the clear, with what it is for. Wiped when it is dropped.
pub struct TestKey {
    /// What it is for.
    pub attributes: Attributes,
    /// Its bytes, most significant first.
    pub vending_key: Zeroizing<Vec<u8>>,
    /// The field of the request that holds it.
    pub field: &'static str,
}

/// What a token of class 0 or 2 is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedOrder {
    /// Which meter.
    pub meter: MeterPan,
    /// What it says.
    pub payload: Payload,
    /// The time that it carries, in seconds since 1970; now if none.
    pub time: Option<i64>,
    /// The last TID of the meter.
    pub after: Option<Tid>,
}

/// Tokens may carry a time up to a day back; a new meter takes those that are made from now on.
const METER_AGE_SECONDS: i64 = 25 * 3_600;

impl TestKey {
    fn decoder_key(&self, meter: &MeterPan) -> Result<OwnedDecoderKey, Refusal> {
        let refused = |field: &str, text: String| Refusal::field(&format!("{}.{field}", self.field), text);
        let derivation = Derivation::new(&self.attributes, meter)
            .map_err(|error| refused("attributes", error.to_string()))?;
        derive(&derivation, &self.vending_key).map_err(|error| refused("vending_key", error.to_string()))
    }
}

impl Acts {
    fn now(&self) -> i64 {
        self.clock.now_ms().div_euclid(1_000)
    }

    /// A new meter that holds the decoder key of a test key.
    ///
    /// # Errors
    /// INVALID_FIELDS: the key does not fit its attributes.
    pub fn make_meter(&self, key: &TestKey, meter: MeterPan) -> Result<VirtualMeter, Refusal> {
        let decoder_key = key.decoder_key(&meter)?;
        let base = key.attributes.base_date;
        let made = base.tid_at(self.now() - METER_AGE_SECONDS).or_else(|_| base.tid_at(base.unix_seconds()));
        let made = made.map_err(|error| outside("key.attributes.base_date", error))?;
        VirtualMeter::new(meter, &key.attributes, decoder_key.borrow(), made)
            .map_err(|error| Refusal::field("key.attributes.ea", error.to_string()))
    }

    /// A token of class 0 or 2 under a test key, with its TID.
    ///
    /// # Errors
    /// INVALID_FIELDS: the key does not fit its attributes, or there is no such TID.
    pub fn make_token(&self, key: &TestKey, order: SimulatedOrder) -> Result<(Token, Tid), Refusal> {
        let decoder_key = key.decoder_key(&order.meter)?;
        let base = key.attributes.base_date;
        let tid = base.tid_at(order.time.unwrap_or_else(|| self.now()));
        let tid = tid.map_err(|error| outside("token_time", error))?;
        let tid = order.after.map_or(Ok(tid), |last| later(base, tid, last))?;
        let mut random = [0];
        getrandom::fill(&mut random).map_err(|_| Refusal::internal())?;
        let block = order.payload.block(Rnd::from_random(random[0]), tid);
        let token = block.encrypt(key.attributes.ea, decoder_key.borrow());
        Ok((token.map_err(|error| Refusal::field("key.attributes.ea", error.to_string()))?, tid))
    }

    /// The tokens that carry a meter from one test key to another.
    ///
    /// # Errors
    /// INVALID_FIELDS: a key does not fit its attributes, or the one does not follow the other.
    pub fn make_key_change(
        &self,
        source: &TestKey,
        target: &TestKey,
        meter: MeterPan,
        transfer_sgc: bool,
    ) -> Result<Vec<Token>, Refusal> {
        let plan = KeyChange::plan(&source.attributes, &target.attributes, transfer_sgc, self.now())
            .map_err(|error| Refusal::field("target.attributes", error.to_string()))?;
        let (current, new) = (source.decoder_key(&meter)?, target.decoder_key(&meter)?);
        let tokens = plan.tokens(current.borrow(), new.borrow());
        tokens.map_err(|error| Refusal::field("target.vending_key", error.to_string()))
    }

    /// Types a token into a meter.
    pub fn enter_token(&self, meter: &mut VirtualMeter, typed: &str) -> Answer {
        meter.enter_digits(typed, self.now())
    }
}

/// The first TID after both, as the ledger would choose it.
fn later(base: BaseDate, tid: Tid, last: Tid) -> Result<Tid, Refusal> {
    if tid > last {
        return Ok(tid);
    }
    // The next minute; 00:01 is skipped by what counts minutes.
    base.tid_at(last.unix_seconds(base).saturating_add(60)).map_err(|error| outside("after_tid", error))
}

fn outside(field: &str, error: TidError) -> Refusal {
    Refusal::field(field, error.to_string())
}
