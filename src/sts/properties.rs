//! Properties of the whole standard: what is encoded decodes to the same, nothing typed breaks
//! anything, and a meter takes every issued token once.

use proptest::prelude::*;

use super::amount::{CurrencyAmount, UnitAmount};
use super::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry};
use super::cipher::DecoderKey;
use super::derivation::Derivation;
use super::meter::MeterPan;
use super::software::{OwnedDecoderKey, derive};
use super::tid::{Tid, TidWindow};
use super::token::key_change::{KeyChange, SetShape};
use super::token::{
    ClearBlock, Content, CreditRegister, Display, DisplayForm, ExtendedSet, Management, Payload, Rnd,
    Service, Token,
};
use super::virtual_meter::{Answer, Effect, Rejection, VirtualMeter};

/// 2020-01-01T00:00Z: no base date has run out.
const NOW: i64 = 1_577_836_800;
const METER: &str = "600727000000000009";
const OTHER_METER: &str = "600727111111111153";
const MANUFACTURED: u32 = 500_000;

fn any_ea() -> impl Strategy<Value = EncryptionAlgorithm> {
    use EncryptionAlgorithm::{Ea07, Ea09, Ea11};
    prop_oneof![Just(Ea07), Just(Ea09), Just(Ea11)]
}

fn any_service() -> impl Strategy<Value = Service> {
    (0..4_usize).prop_map(|index| Service::ALL[index])
}

fn any_register() -> impl Strategy<Value = CreditRegister> {
    prop_oneof![0..8_u16, Just(0xFFFF)].prop_map(|value| value.try_into().unwrap())
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let units = any::<u16>().prop_map(UnitAmount::from_code);
    let currency = any::<i64>().prop_map(|units| CurrencyAmount::from_units(units.into()).unwrap());
    let extended = (0..64_u8, 0..1024_u16).prop_map(|(index, value)| ExtendedSet::new(index, value).unwrap());
    let management = prop_oneof![
        units.clone().prop_map(Management::MaximumPowerLimit),
        any_register().prop_map(Management::ClearCredit),
        any::<u16>().prop_map(Management::TariffRate),
        Just(Management::ClearTamper),
        units.clone().prop_map(Management::MaximumPhasePowerUnbalance),
        any::<u16>().prop_map(Management::WaterMeterFactor),
        extended.prop_map(Management::Extended),
    ];
    prop_oneof![
        (any_service(), units).prop_map(|(service, amount)| Payload::Credit { service, amount }),
        (any_service(), currency).prop_map(|(service, amount)| Payload::Currency { service, amount }),
        management.prop_map(Payload::Management),
    ]
}

fn any_tid() -> impl Strategy<Value = Tid> {
    (0..=0xFF_FFFF_u32).prop_map(|tid| Tid::new(tid).unwrap())
}

fn any_attributes(ea: EncryptionAlgorithm) -> impl Strategy<Value = Attributes> {
    (0..1_000_000_u32, 0..100_u8, 1..10_u8, 2..4_u8).prop_map(move |(sgc, ti, krn, kt)| Attributes {
        iin: "600727".parse().unwrap(),
        sgc: sgc.try_into().unwrap(),
        ti: ti.try_into().unwrap(),
        krn: krn.try_into().unwrap(),
        kt: kt.try_into().unwrap(),
        ken: KeyExpiry(255),
        ea,
        dkga: Dkga::Dkga04,
        base_date: BaseDate::Y1993,
    })
}

/// The key as the cipher's first 8 or all 16 bytes.
fn key_for(ea: EncryptionAlgorithm, bytes: &[u8; 16]) -> DecoderKey<'_> {
    DecoderKey::from_slice(&bytes[..ea.key_bytes()]).unwrap()
}

fn decoder_key(attributes: &Attributes, meter: &str) -> OwnedDecoderKey {
    let meter: MeterPan = meter.parse().unwrap();
    derive(&Derivation::new(attributes, &meter).unwrap(), b"twenty bytes of key!").unwrap()
}

fn reparse(token: &Token) -> Token {
    token.to_string().parse().unwrap()
}

proptest! {
    #[test]
    fn payloads_come_back(
        payload in any_payload(), rnd in 0..16_u8, tid in any_tid(), ea in any_ea(), key: [u8; 16]
    ) {
        let rnd = Rnd::try_from(rnd).unwrap();
        let block = payload.block(rnd, tid);
        let key = key_for(ea, &key);
        let token = reparse(&block.encrypt(ea, key).unwrap());
        prop_assert_eq!((block.class(), block.subclass()), payload.class_subclass());
        let decrypted = token.decrypt(ea, key).unwrap().verify().unwrap();
        prop_assert_eq!(&decrypted, &block);
        prop_assert_eq!(&ClearBlock::from_parts(block.class(), block.bits()).unwrap(), &block);
        let expected = Content::Vending { payload, rnd: payload.carries_rnd().then_some(rnd), tid };
        prop_assert_eq!(Content::parse(&decrypted, ea), Ok(expected));
    }

    #[test]
    fn displays_come_back(form in 0..3_u8, control: u64, manufacturer in 0..100_u16, ea in any_ea(), key: [u8; 16]) {
        let form = [DisplayForm::TwoDigit, DisplayForm::FourDigit, DisplayForm::Extended][usize::from(form)];
        let manufacturer = if form == DisplayForm::Extended { 0 } else { manufacturer };
        let control = control >> (64 - form.control_bits());
        let display = Display::new(form, control, manufacturer).unwrap();
        let token = reparse(&display.token());
        let block = token.unencrypted().unwrap().verify().unwrap();
        prop_assert_eq!(Content::parse(&block, ea), Ok(Content::Display(display)));
        let same = token.decrypt(ea, key_for(ea, &key)).unwrap().verify().unwrap();
        prop_assert_eq!(same, block);
    }

    #[test]
    fn key_change_sections_come_back(
        ea in any_ea(), current: [u8; 16], new: [u8; 16], ken: u8, krn in 1..10_u8, kt in 0..4_u8, ti in 0..100_u8,
        sgc in 0..1_000_000_u32, roll_over: bool, transfer_sgc: bool
    ) {
        let change = KeyChange {
            ea,
            shape: SetShape::new(ea, transfer_sgc),
            ken: KeyExpiry(ken),
            krn: krn.try_into().unwrap(),
            kt: kt.try_into().unwrap(),
            ti: ti.try_into().unwrap(),
            sgc: sgc.try_into().unwrap(),
            roll_over,
        };
        let (current, new) = (key_for(ea, &current), key_for(ea, &new));
        let tokens = change.tokens_below_policy(current, new).unwrap();
        prop_assert_eq!(&tokens, &change.tokens_below_policy(current, new).unwrap(), "the same digits again");
        for (token, section) in tokens.iter().zip(change.sections(new).unwrap()) {
            let block = reparse(token).decrypt(ea, current).unwrap().verify().unwrap();
            prop_assert_eq!(Content::parse(&block, ea), Ok(Content::KeyChange(section)));
        }
    }

    /// Any 20 digits, and any text at all: an answer, never a panic.
    #[test]
    fn nothing_typed_panics(digits in "[0-9]{20}", text: String, ea in any_ea(), key: [u8; 16]) {
        let attributes = Attributes { ea: EncryptionAlgorithm::Ea07, ..fixed_attributes() };
        let mut meter = new_meter(&attributes);
        for typed in [&digits, &text] {
            meter.enter_digits(typed, NOW);
            let Ok(token) = typed.parse::<Token>() else { continue };
            prop_assert_eq!(token.to_string(), typed.as_str());
            let unverified = token.decrypt(ea, key_for(ea, &key)).unwrap();
            if let Ok(block) = unverified.verify() {
                let _ = Content::parse(&block, ea);
                prop_assert_eq!(block.layout(ea).iter().map(|field| field.bits.len()).sum::<usize>(), 66);
            }
        }
        let _ = MeterPan::parse(&text, attributes.iin);
    }

    /// Blocks of any content whose CRC holds, which random digits hardly ever are.
    #[test]
    fn no_content_panics(class in 0..3_u8, content: u64, ea in any_ea()) {
        let front = content >> 16;
        let bits = front << 16 | u64::from(super::crc::block_crc(class, front));
        let block = ClearBlock::from_parts(class, bits).unwrap();
        let _ = Content::parse(&block, ea);
        prop_assert_eq!(block.layout(ea).iter().map(|field| field.bits.len()).sum::<usize>(), 66);
    }
}

fn fixed_attributes() -> Attributes {
    Attributes { base_date: BaseDate::Y1993, ..Attributes::example() }
}

fn new_meter(attributes: &Attributes) -> VirtualMeter {
    let key = decoder_key(attributes, METER);
    let manufactured = Tid::new(MANUFACTURED).unwrap();
    VirtualMeter::new(METER.parse().unwrap(), attributes, key.borrow(), manufactured).unwrap()
}

/// What a vending system does for one meter.
#[derive(Clone, Debug)]
enum Act {
    /// Issues a token, this number of minutes after the one before; 0 asks for the same minute.
    Issue(Payload, u32),
    /// Changes to a key of these attributes, with or without the SGC; the flag moves to the next
    /// base date.
    ChangeKey(Attributes, bool, bool),
}

fn any_acts() -> impl Strategy<Value = (EncryptionAlgorithm, Vec<Act>)> {
    prop_oneof![Just(EncryptionAlgorithm::Ea07), Just(EncryptionAlgorithm::Ea11)].prop_flat_map(|ea| {
        let act = prop_oneof![
            6 => (any_payload(), 0..3_u32).prop_map(|(payload, minutes)| Act::Issue(payload, minutes)),
            1 => (any_attributes(ea), any::<bool>(), any::<bool>())
                .prop_map(|(attributes, transfer_sgc, roll_over)| Act::ChangeKey(attributes, transfer_sgc, roll_over)),
        ];
        (Just(ea), prop::collection::vec(act, 1..40))
    })
}

fn next_base_date(base: BaseDate) -> BaseDate {
    match base {
        BaseDate::Y1993 => BaseDate::Y2014,
        BaseDate::Y2014 | BaseDate::Y2035 => BaseDate::Y2035,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any sequence of issued tokens is taken once each, in order, across key changes; every replay
    /// under the same key is "used"; a token of this sequence is nothing to another meter.
    #[test]
    fn a_meter_takes_what_is_issued_once((ea, acts) in any_acts()) {
        let mut attributes = Attributes { ea, ..fixed_attributes() };
        let mut meter = new_meter(&attributes);
        let mut window = TidWindow {
            earliest: Tid::new(MANUFACTURED + 1).unwrap(),
            ken: KeyExpiry(255),
            horizon: Tid::new(0xFF_FFFF).unwrap(),
        };
        let mut last = None;
        let mut under_this_key: Vec<Token> = Vec::new();
        for act in acts {
            match act {
                Act::Issue(payload, minutes) => {
                    window.earliest = Tid::new(window.earliest.value() + minutes).unwrap();
                    let tid = window.next(last).unwrap();
                    last = Some(tid);
                    let key = decoder_key(&attributes, METER);
                    let block = payload.block(Rnd::from_random(tid.value() as u8), tid);
                    let token = block.encrypt(ea, key.borrow()).unwrap();
                    let answer = meter.enter(&token, NOW);
                    prop_assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
                    prop_assert_eq!(meter.enter(&token, NOW), Answer::Rejected(Rejection::Used(tid)));
                    let other = decoder_key(&attributes, OTHER_METER);
                    // One wrong key in 65536 leaves a CRC that holds.
                    prop_assume!(token.decrypt(ea, other.borrow()).unwrap().verify().is_err());
                    let mut other_meter = VirtualMeter::new(
                        OTHER_METER.parse().unwrap(), &attributes, other.borrow(), Tid::new(0).unwrap()
                    ).unwrap();
                    prop_assert_eq!(other_meter.enter(&token, NOW), Answer::Rejected(Rejection::Crc));
                    under_this_key.push(token);
                }
                Act::ChangeKey(wanted, transfer_sgc, roll_over) => {
                    let base_date = match roll_over {
                        true => next_base_date(attributes.base_date),
                        false => attributes.base_date,
                    };
                    // KT 2 and 3 do not become each other.
                    let new = Attributes { base_date, kt: attributes.kt, ..wanted };
                    let change = KeyChange::plan(&attributes, &new, transfer_sgc, NOW).unwrap();
                    let (from, to) = (decoder_key(&attributes, METER), decoder_key(&new, METER));
                    let tokens = change.tokens(from.borrow(), to.borrow()).unwrap();
                    let mut answers = tokens.iter().map(|token| meter.enter(token, NOW)).collect::<Vec<_>>();
                    let done = answers.pop();
                    prop_assert!(matches!(done, Some(Answer::Accepted(Effect::KeyChanged(_)))), "{done:?}");
                    for answer in answers {
                        prop_assert!(matches!(answer, Answer::Accepted(Effect::SectionKept { .. })), "{answer:?}");
                    }
                    if from.borrow().as_bytes() != to.borrow().as_bytes() {
                        under_this_key.clear();
                    }
                    if change.roll_over {
                        last = None;
                    }
                    attributes = new;
                    // Stored and read back, it is the same meter.
                    meter = VirtualMeter::from_state(&meter.state()).unwrap();
                }
            }
        }
        for token in under_this_key {
            prop_assert!(matches!(meter.enter(&token, NOW), Answer::Rejected(Rejection::Used(_))));
        }
    }
}
