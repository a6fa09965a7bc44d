//! `vendkey.v1.SimulatorService`.

use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{
    content::{self, Requested},
    parse::Fields,
    services::Services,
    v1::{self, simulator_service_server::SimulatorService},
};
use crate::{
    acts::{Refusal, SimulatedOrder, TestKey},
    sts::{
        amount::{CURRENCY_PLACES, UNIT_PLACES, format_decimal},
        attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry},
        meter::{Iin, MeterPan},
        tid::Tid,
        token::Service,
        virtual_meter::{Answer, MeterState, VirtualMeter},
    },
};

/// The most characters of a meter's state: some remembered identifiers, and no more than a set's sections.
const MOST_STATE: usize = 64 * 1024;

#[tonic::async_trait]
impl SimulatorService for Services {
    async fn make_meter(
        &self,
        request: Request<v1::MakeMeterRequest>,
    ) -> Result<Response<v1::SimulatedMeter>, Status> {
        let wire = request.into_inner();
        let mut fields = Fields::default();
        let key = test_key(&mut fields, "key", wire.key);
        let meter = meter_of(&mut fields, &wire.meter, key.as_ref());
        let (key, meter) = fields.finish(key.zip(meter))?;
        Ok(Response::new(shown(&self.acts.make_meter(&key, meter)?)?))
    }

    async fn make_token(
        &self,
        request: Request<v1::MakeTokenRequest>,
    ) -> Result<Response<v1::SimulatedToken>, Status> {
        let wire = request.into_inner();
        let mut fields = Fields::default();
        let asked = match wire.content.and_then(|content| content.content) {
            None => {
                fields.fault("content", "is missing: say which token, such as electricity_credit");
                None
            }
            some => content::parse(&mut fields, some),
        };
        let asked = match asked {
            Some(Requested::Display(display)) => {
                fields.finish(Some(()))?;
                return Ok(Response::new(v1::SimulatedToken {
                    token: display.token().to_string(),
                    token_class: display.block().class().into(),
                    token_subclass: display.block().subclass().into(),
                    kind: content::display_kind(&display).to_owned(),
                    tid: None,
                    transferred: None,
                }));
            }
            Some(Requested::Sequenced(asked)) => Some(asked),
            None => None,
        };
        let key = test_key(&mut fields, "key", wire.key);
        let meter = meter_of(&mut fields, &wire.meter, key.as_ref());
        let after = match wire.after_tid {
            0 => Some(None),
            value => fields.take("after_tid", Tid::new(value)).map(Some),
        };
        let parsed = key.zip(meter).zip(asked.zip(after));
        let ((key, meter), (asked, after)) = fields.finish(parsed)?;
        let time = wire.token_time.map(|time| time.seconds);
        let order = SimulatedOrder { meter, payload: asked.payload, time, after };
        let (token, tid) = self.acts.make_token(&key, order)?;
        let (token_class, token_subclass) = asked.payload.class_subclass();
        let transferred = content::transferred(&asked.payload).map(|(amount, unit, units)| v1::Transferred {
            amount,
            unit: unit.to_owned(),
            rounded_up: units != asked.exact,
        });
        Ok(Response::new(v1::SimulatedToken {
            token: token.to_string(),
            token_class: token_class.into(),
            token_subclass: token_subclass.into(),
            kind: content::kind(&asked.payload),
            tid: Some(content::identifier(tid, key.attributes.base_date)),
            transferred,
        }))
    }

    async fn make_key_change(
        &self,
        request: Request<v1::MakeKeyChangeRequest>,
    ) -> Result<Response<v1::MakeKeyChangeResponse>, Status> {
        let wire = request.into_inner();
        let mut fields = Fields::default();
        let source = test_key(&mut fields, "source", wire.source);
        let target = test_key(&mut fields, "target", wire.target);
        let meter = meter_of(&mut fields, &wire.meter, source.as_ref());
        let (keys, meter) = fields.finish(source.zip(target).zip(meter))?;
        let tokens = self.acts.make_key_change(&keys.0, &keys.1, meter, wire.transfer_sgc)?;
        let tokens = tokens.iter().map(ToString::to_string).collect();
        Ok(Response::new(v1::MakeKeyChangeResponse { tokens }))
    }

    async fn enter_token(
        &self,
        request: Request<v1::EnterTokenRequest>,
    ) -> Result<Response<v1::EnterTokenResponse>, Status> {
        let v1::EnterTokenRequest { state, token } = request.into_inner();
        let mut meter = meter_in(&Zeroizing::new(state))?;
        let answer = self.acts.enter_token(&mut meter, &token);
        Ok(Response::new(v1::EnterTokenResponse {
            accepted: matches!(answer, Answer::Accepted(_)),
            answer: match &answer {
                Answer::Accepted(effect) => effect.to_string(),
                Answer::Rejected(rejection) => rejection.to_string(),
            },
            meter: Some(shown(&meter)?),
        }))
    }
}

/// A meter as its holder keeps it.
fn meter_in(state: &str) -> Result<VirtualMeter, Refusal> {
    let wrong = |text: String| Refusal::field("state", text);
    if state.len() > MOST_STATE {
        return Err(wrong(format!("has more than {MOST_STATE} characters")));
    }
    // A parser's own words may quote the key.
    let state: MeterState = serde_json::from_str(state)
        .map_err(|_| wrong("is not the state of a meter as this service gave it".to_owned()))?;
    VirtualMeter::from_state(&state).map_err(|error| wrong(error.to_string()))
}

fn test_key(fields: &mut Fields, field: &'static str, wire: Option<v1::TestKey>) -> Option<TestKey> {
    let Some(v1::TestKey { attributes, vending_key }) = wire else {
        fields.fault(field, "is missing");
        return None;
    };
    let vending_key = Zeroizing::new(vending_key);
    let attributes = attributes_of(fields, &format!("{field}.attributes"), attributes);
    let bytes = hex::decode(vending_key.as_bytes()).map(Zeroizing::new);
    let bytes = fields.take(&format!("{field}.vending_key"), bytes.map_err(|_| "expected hex digits"));
    Some(TestKey { attributes: attributes?, vending_key: bytes?, field })
}

fn attributes_of(fields: &mut Fields, path: &str, wire: Option<v1::KeyAttributes>) -> Option<Attributes> {
    let Some(wire) = wire else {
        fields.fault(path, "is missing");
        return None;
    };
    let at = |name: &str| format!("{path}.{name}");
    // No number of an attribute is as large.
    let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    let iin = fields.take(&at("iin"), wire.iin.parse::<Iin>());
    let sgc = fields.take(&at("sgc"), wire.sgc.parse());
    let ti = fields.take(&at("ti"), wire.ti.parse());
    let krn = fields.take(&at("krn"), byte(wire.krn).try_into());
    let kt = fields.take(&at("kt"), byte(wire.kt).try_into());
    let ken = fields.take(&at("ken"), u8::try_from(wire.ken).map(KeyExpiry).map_err(|_| "is 0 to 255"));
    let ea = fields.take(&at("ea"), EncryptionAlgorithm::try_from(byte(wire.ea)));
    let dkga = fields.take(&at("dkga"), Dkga::try_from(byte(wire.dkga)));
    let year = u16::try_from(wire.base_date).unwrap_or(u16::MAX);
    let base_date = fields.take(&at("base_date"), BaseDate::try_from(year));
    Some(Attributes {
        iin: iin?,
        sgc: sgc?,
        ti: ti?,
        krn: krn?,
        kt: kt?,
        ken: ken?,
        ea: ea?,
        dkga: dkga?,
        base_date: base_date?,
    })
}

/// The meter's whole number, once it is known whose it is.
fn meter_of(fields: &mut Fields, text: &str, key: Option<&TestKey>) -> Option<MeterPan> {
    fields.take("meter", MeterPan::parse(text, key?.attributes.iin))
}

/// A meter with its registers. What was never used is left out.
fn shown(meter: &VirtualMeter) -> Result<v1::SimulatedMeter, Refusal> {
    let state = meter.state();
    let mut registers = Vec::new();
    let mut add = |name: String, value: String| registers.push(v1::NamedValue { name, value });
    for service in Service::ALL {
        let units = meter.credit(service);
        if units != 0 || service == Service::Electricity {
            let amount = format_decimal(units.into(), UNIT_PLACES);
            add(service.to_string(), format!("{amount} {}", service.unit()));
        }
    }
    for service in Service::ALL {
        let units = meter.currency(service);
        if units != 0 {
            add(format!("{service} currency"), format_decimal(units, CURRENCY_PLACES));
        }
    }
    let watts = |value: u32| format!("{value} W");
    let optional = [
        ("power limit", state.power_limit.map(watts)),
        ("phase unbalance limit", state.phase_unbalance_limit.map(watts)),
        ("tariff rate", state.tariff_rate.map(|value| value.to_string())),
        ("water meter factor", state.water_meter_factor.map(|value| value.to_string())),
        ("key change", state.key_change.as_ref().map(|set| format!("{} tokens entered", set.blocks.len()))),
        ("tamper condition", state.tampered.then(|| "yes".to_owned())),
        ("newest TID", state.tids.iter().max().map(u32::to_string)),
        ("supply group", state.supply_group.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            add(name.to_owned(), value);
        }
    }
    add("tariff index".to_owned(), format!("{:02}", state.tariff_index));
    add("key revision".to_owned(), state.key_revision.to_string());
    add("key type".to_owned(), state.key_type.to_string());
    add("key expiry".to_owned(), state.key_expiry.to_string());
    let text = serde_json::to_string(&state).map_err(|_| Refusal::internal())?;
    Ok(v1::SimulatedMeter { state: text, meter_pan: state.meter.clone(), registers })
}
