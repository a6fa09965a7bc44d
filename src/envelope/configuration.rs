//! The fields of a configuration: from texts to attributes that cannot be wrong, or every fault at
//! once.

use super::conformity::{self, KeyFacts, Unservable, Warning};
use super::fault::{FieldFault, FieldReason, quotable_value};
use super::field::Field;
use super::text::{Entry, Fields};
use crate::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm};

/// The most characters of a name; it is shown in lists.
const MAX_NAME: usize = 200;

/// A checked configuration, without its vending key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationDraft {
    /// The text's `name`; not unique.
    pub display_name: String,
    /// What tokens and decoder keys depend on.
    pub attributes: Attributes,
    /// What the administrator should know.
    pub warnings: Vec<Warning>,
    /// Whether tokens can be issued from it, and if not why. Dates and policy are checked for each
    /// token.
    pub servable: Result<(), Vec<Unservable>>,
}

/// The fields that every configuration has, all of them valid.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) display_name: String,
    pub(super) attributes: Attributes,
}

impl Parsed {
    /// Judges the configuration at the time `now` (seconds since 1970).
    pub(super) fn judge(self, key: KeyFacts, now: i64) -> ConfigurationDraft {
        let Parsed { display_name, attributes } = self;
        ConfigurationDraft {
            display_name,
            warnings: conformity::warnings(&attributes, key, now),
            servable: conformity::servable(&attributes, key.bytes),
            attributes,
        }
    }
}

/// Where the vending key of a configuration is.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyPlace {
    /// In the text, with this number of hex digits, if it is well formed.
    InText(Option<usize>),
    /// Beside it, sealed.
    Sealed,
}

/// Reads all fields.
///
/// # Errors
/// Every fault: those of [`Fields::faults`], then missing fields and values out of range, in the
/// order of the fields.
pub(super) fn read(fields: Fields, key: KeyPlace) -> Result<Parsed, Vec<FieldFault>> {
    let mut reader = Reader { entries: &fields.entries, faults: fields.faults };
    let display_name = reader.required(Field::Name, name);
    // Only known so that a text that names it is understood; the value itself says nothing more.
    reader.optional(Field::Type, kind);
    let ken = reader.value(Field::KeyExpiryNo, "a number from 0 to 255", |text| text.parse().ok());
    let ea = reader.value(Field::EncryptionAlgorithm, "sta, dea or misty1", encryption_algorithm);
    reader
        .value(Field::TokenCarrierType, "numeric", |text| text.eq_ignore_ascii_case("numeric").then_some(()));
    let dkga = reader.value(Field::Dkga, "two digits, 01 to 04", decoder_key_generation_algorithm);
    let ti = reader.value(Field::TariffIndex, "two digits", |text| {
        if text.len() == 2 { text.parse().ok() } else { None }
    });
    let krn = reader.value(Field::KeyRevisionNo, "a digit from 1 to 9", |text| text.parse().ok());
    if let KeyPlace::InText(_) = key {
        reader.required(Field::VendingKey, |_| Ok(()));
    }
    let sgc = reader.value(Field::SupplyGroupCode, "six digits", |text| text.parse().ok());
    let kt = reader.value(Field::KeyType, "a digit from 0 to 3", |text| text.parse().ok());
    let base_date = reader.value(Field::BaseDate, "1993, 2014 or 2035", base_date);
    let iin = reader.value(Field::Iin, "600727, 0000 or another six digits", |text| text.parse().ok());
    if let (Some(dkga), KeyPlace::InText(Some(digits))) = (dkga, key) {
        reader.key_length(dkga, digits);
    }
    match (display_name, ken, ea, dkga, ti, krn, sgc, kt, base_date, iin) {
        (
            Some(display_name),
            Some(ken),
            Some(ea),
            Some(dkga),
            Some(ti),
            Some(krn),
            Some(sgc),
            Some(kt),
            Some(base_date),
            Some(iin),
        ) if reader.faults.is_empty() => Ok(Parsed {
            display_name,
            attributes: Attributes { iin, sgc, ti, krn, kt, ken, ea, dkga, base_date },
        }),
        _ => Err(reader.faults),
    }
}

struct Reader<'a> {
    entries: &'a [Entry],
    faults: Vec<FieldFault>,
}

impl Reader<'_> {
    /// The field's value, or a fault with what was `expected` and, where it may be shown, what was
    /// there.
    fn value<T>(
        &mut self,
        field: Field,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.required(field, |text| {
            parse(text).ok_or_else(|| FieldReason::Value { expected, got: quotable_value(text) })
        })
    }

    fn required<T>(&mut self, field: Field, parse: impl Fn(&str) -> Result<T, FieldReason>) -> Option<T> {
        let faulted = self.faults.iter().any(|fault| fault.field == field.name());
        let present = self.entries.iter().any(|entry| entry.field == field);
        // A field whose line is at fault is there, and one that was found twice has its fault
        // already.
        if !present && !faulted {
            self.faults.push(FieldFault::new(field.name(), None, FieldReason::Missing));
        }
        self.optional(field, parse)
    }

    fn optional<T>(&mut self, field: Field, parse: impl Fn(&str) -> Result<T, FieldReason>) -> Option<T> {
        let entry = self.entries.iter().find(|entry| entry.field == field)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.faults.push(FieldFault::new(field.name(), entry.line, reason));
                None
            }
        }
    }

    /// Upload formats §2: each DKGA has its length, and DKGA04 also takes the 64-bit key of the
    /// published example (with a warning: nothing can be issued from it).
    fn key_length(&mut self, dkga: Dkga, digits: usize) {
        let expected = 2 * dkga.vending_key_bytes();
        let example = dkga == Dkga::Dkga04 && digits == 16;
        if digits != expected && !example {
            let line = self
                .entries
                .iter()
                .find(|entry| entry.field == Field::VendingKey)
                .and_then(|entry| entry.line);
            let reason = FieldReason::KeyLengthForAlgorithm { digits, dkga: dkga.code(), expected };
            self.faults.push(FieldFault::new(Field::VendingKey.name(), line, reason));
        }
    }
}

fn name(text: &str) -> Result<String, FieldReason> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(FieldReason::Empty),
        characters if characters > MAX_NAME => Err(FieldReason::NameTooLong { characters, limit: MAX_NAME }),
        _ => Ok(text.to_owned()),
    }
}

fn kind(text: &str) -> Result<(), FieldReason> {
    if text.eq_ignore_ascii_case("native") {
        Ok(())
    } else if text.eq_ignore_ascii_case("prism-thrift") {
        Err(FieldReason::NotSupported("prism-thrift"))
    } else {
        Err(FieldReason::Value { expected: "native", got: quotable_value(text) })
    }
}

fn encryption_algorithm(text: &str) -> Option<EncryptionAlgorithm> {
    match text.to_ascii_lowercase().as_str() {
        "sta" => Some(EncryptionAlgorithm::Ea07),
        "dea" => Some(EncryptionAlgorithm::Ea09),
        "misty" | "misty1" => Some(EncryptionAlgorithm::Ea11),
        _ => None,
    }
}

fn decoder_key_generation_algorithm(text: &str) -> Option<Dkga> {
    match text {
        "01" => Some(Dkga::Dkga01),
        "02" => Some(Dkga::Dkga02),
        "03" => Some(Dkga::Dkga03),
        "04" => Some(Dkga::Dkga04),
        _ => None,
    }
}

fn base_date(text: &str) -> Option<BaseDate> {
    match text {
        "1993" => Some(BaseDate::Y1993),
        "2014" => Some(BaseDate::Y2014),
        "2035" => Some(BaseDate::Y2035),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;
    use crate::sts::attributes::{KeyExpiry, KeyType};

    const GOOD: &str = "name: test\ntype: native\nkey_expiry_no: 255\nencryption_algorithm: sta\ntoken_carrier_type: numeric\n\
        decoder_key_generation_algorithm: 04\ntariff_index: 01\nkey_revision_no: 1\n\
        vending_key: abababababababab949494949494949401234567\nsupply_group_code: 123456\nkey_type: 2\nbase_date: 2014\n\
        issuer_identification_no: 600727\n";

    fn parse(text: &str) -> Result<Parsed, Vec<FieldFault>> {
        let fields = text::read(text.as_bytes()).map_err(|fault| vec![fault])?;
        let digits = fields.vending_key.as_ref().map(ExactSizeIterator::len);
        read(fields, KeyPlace::InText(digits))
    }

    /// The good text with one field's value replaced.
    fn with(field: &str, value: &str) -> Result<Parsed, Vec<FieldFault>> {
        let lines = GOOD.lines().map(|line| match line.split_once(": ") {
            Some((name, _)) if name == field => format!("{name}: {value}\n"),
            _ => format!("{line}\n"),
        });
        parse(&lines.collect::<String>())
    }

    #[test]
    fn every_attribute_is_read() {
        let Parsed { display_name, attributes } = parse(GOOD).unwrap();
        assert_eq!(display_name, "test");
        let expected = Attributes {
            iin: "600727".parse().unwrap(),
            sgc: "123456".parse().unwrap(),
            ti: "01".parse().unwrap(),
            krn: "1".parse().unwrap(),
            kt: KeyType::Dutk,
            ken: KeyExpiry(255),
            ea: EncryptionAlgorithm::Ea07,
            dkga: Dkga::Dkga04,
            base_date: BaseDate::Y2014,
        };
        assert_eq!(attributes, expected);
    }

    #[test]
    fn values_in_range_are_accepted() {
        for (field, values) in [
            ("name", &["a", "Größe 1", "'  a  '", "0x0abc", "123", "\"yes\""][..]),
            ("type", &["native", "Native", "'native'"]),
            ("key_expiry_no", &["0", "85", "255", "085"]),
            ("encryption_algorithm", &["sta", "STA", "dea", "misty", "misty1", "MISTY1"]),
            ("token_carrier_type", &["numeric"]),
            ("tariff_index", &["00", "08", "09", "99", "'07'"]),
            ("key_revision_no", &["1", "9"]),
            ("supply_group_code", &["000046", "000000", "999999"]),
            ("key_type", &["0", "1", "2", "3"]),
            ("base_date", &["1993", "2014", "2035"]),
            ("issuer_identification_no", &["600727", "0000", "123456", "'0000'"]),
            ("vending_key", &["0123456789abcdef", "0123456789012e34", "1234567812345678"]),
        ] {
            for value in values {
                assert!(with(field, value).is_ok(), "{field}: {value}");
            }
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for (field, values) in [
            ("name", &["", "''", "'   '", &long][..]),
            ("type", &["prism-thrift", "thrift"]),
            ("key_expiry_no", &["256", "-1", "+1", "1.5", "0x10", "a", "1e2", "1000"]),
            ("encryption_algorithm", &["07", "aes", "misty2", "st a"]),
            ("token_carrier_type", &["magnetic", "02"]),
            ("decoder_key_generation_algorithm", &["00", "05", "4", "004", "0x4"]),
            ("tariff_index", &["1", "001", "01w", "1_", "-1", "٠١"]),
            ("key_revision_no", &["0", "10", "01", "a"]),
            ("supply_group_code", &["12345", "1234567", "12345a", "38"]),
            ("key_type", &["4", "-1", "02", "common"]),
            ("base_date", &["93", "2015", "2014-01-01", "02014"]),
            ("issuer_identification_no", &["0", "00000", "6007270", "60072a", "1234"]),
            ("vending_key", &["0123456789abcde", "0x0123456789abcdef", "", "secret"]),
        ] {
            for value in values {
                let faults = with(field, value).expect_err(value);
                let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
                assert_eq!(fields, [field], "{field}: {value}: {faults:?}");
            }
        }
    }

    #[test]
    fn each_dkga_takes_its_key() {
        for (dkga, good, bad) in [("01", 16, 40), ("02", 16, 32), ("03", 32, 16), ("04", 40, 32)] {
            let text = |digits: usize| {
                GOOD.replace("algorithm: 04", &format!("algorithm: {dkga}"))
                    .replace("abababababababab949494949494949401234567", &"ab".repeat(digits / 2))
            };
            assert!(parse(&text(good)).is_ok(), "DKGA{dkga}");
            let faults = parse(&text(bad)).unwrap_err();
            let [FieldFault { field, line: Some(9), reason: FieldReason::KeyLengthForAlgorithm { .. } }] =
                &faults[..]
            else {
                panic!("{faults:?}");
            };
            assert_eq!(field, "vending_key");
        }
    }

    #[test]
    fn each_field_but_the_type_is_required() {
        for field in Field::ALL {
            let text: String = GOOD
                .lines()
                .filter(|line| !line.starts_with(&format!("{}:", field.name())))
                .map(|line| format!("{line}\n"))
                .collect();
            match parse(&text) {
                Ok(_) => assert_eq!(field, Field::Type),
                Err(faults) => {
                    assert_eq!(faults, [FieldFault::new(field.name(), None, FieldReason::Missing)])
                }
            }
        }
    }

    #[test]
    fn all_bad_fields_are_named_at_once() {
        let text = "name: a\nkey_expiry_no: 256\ntariff_index: 01w\nkey_type: 2\nkey_type: 3\nbase_date: &x 2014\nfoo: bar\n";
        let faults = parse(text).unwrap_err();
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        let expected = [
            "key_type",
            "base_date",
            "foo",
            "key_expiry_no",
            "encryption_algorithm",
            "token_carrier_type",
            "decoder_key_generation_algorithm",
            "tariff_index",
            "key_revision_no",
            "vending_key",
            "supply_group_code",
            "issuer_identification_no",
        ];
        assert_eq!(named, expected);
    }
}
