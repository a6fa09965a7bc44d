//! Whether what came out is what was published, in whatever spelling of JSON.

use serde_json::Value;

use super::moment;
use crate::sts::amount::{CURRENCY_PLACES, Rounding, parse_decimal};

/// Equal as this field means it: digits of tokens and meters one by one, hex in any case, times as
/// times, everything else as numbers where both are, with true and false for 1 and 0.
pub(super) fn same(field: &str, expected: &Value, actual: &Value) -> bool {
    if let (Value::Array(expected), Value::Array(actual)) = (expected, actual) {
        return expected.len() == actual.len()
            && expected.iter().zip(actual).all(|(expected, actual)| same(field, expected, actual));
    }
    let (expected, actual) = (text(expected), text(actual));
    if expected == actual {
        return true;
    }
    match field {
        // Every digit counts, leading zeros too; grouping is for people.
        "token" | "tokens" | "pan" => expected.split_whitespace().collect::<String>() == actual,
        "decoder_key" | "out" | "pan_block" | "control_block" | "crc" => {
            let digits: String = expected.split_whitespace().collect();
            digits.strip_prefix("0x").unwrap_or(&digits) == actual
        }
        "datetime" => match (moment::read(&expected), moment::read(&actual)) {
            // A TID is a minute.
            (Some(expected), Some(actual)) => expected.div_euclid(60) == actual.div_euclid(60),
            _ => false,
        },
        _ => match (number(&expected), number(&actual)) {
            (Some(expected), Some(actual)) => expected == actual,
            // Key parts are numbers in the published files, but read better as hex.
            (None, Some(actual)) if field.starts_with("nk") => {
                i128::from_str_radix(expected.trim_start_matches("0x"), 16)
                    .is_ok_and(|expected| expected * 100_000 == actual)
            }
            _ => false,
        },
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => "1".to_owned(),
            "false" => "0".to_owned(),
            text => text.to_owned(),
        },
        other => other.to_string(),
    }
}

/// A decimal, in units of 10^-5, so that 25.6 and 25.60 are one number, and 01 and 1.
fn number(text: &str) -> Option<i128> {
    parse_decimal(text, CURRENCY_PLACES, Rounding::Refuse).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_thing_in_two_spellings() {
        for (field, expected, actual) in [
            ("crc_ok", json!(true), json!(1)),
            ("crc_ok", json!(0), json!(false)),
            ("ro", json!(true), json!(1)),
            ("res", json!("false"), json!(0)),
            ("datetime", json!("1996-03-25T13:55:00Z"), json!("1996-03-25T13:55:00")),
            ("datetime", json!("1996-03-25 13:55"), json!("1996-03-25T13:55:00")),
            ("ti", json!("01"), json!(1)),
            ("sgc", json!("000046"), json!(46)),
            ("sgc", json!(46), json!("000046")),
            ("units", json!(-100), json!("-100")),
            ("amount", json!("25.60"), json!("25.6")),
            ("amount", json!("10.0"), json!("10")),
            ("check_digit", json!("3"), json!(3)),
            ("decoder_key", json!("E653341F9D5BF36F"), json!("e653341f9d5bf36f")),
            ("nkho", json!("0ABC12DE"), json!(180_097_758)),
            ("tokens", json!(["0651 0894 1414 5301 8386"]), json!(["06510894141453018386"])),
            ("error", json!("key expiry error"), json!("KEY EXPIRY ERROR")),
        ] {
            assert!(same(field, &expected, &actual), "{field}: {expected} and {actual}");
        }
    }

    #[test]
    fn what_differs() {
        for (field, expected, actual) in [
            ("token", json!("6510894141453018386"), json!("06510894141453018386")),
            ("tokens", json!(["1"]), json!(["1", "2"])),
            ("crc_ok", json!(true), json!(false)),
            ("datetime", json!("1996-03-25T13:55:00+02:00"), json!("1996-03-25T13:55:00")),
            ("ti", json!("10"), json!(1)),
            ("out", json!("10"), json!("0010")),
            ("type", json!("credit_gas"), json!("credit_water")),
        ] {
            assert!(!same(field, &expected, &actual), "{field}: {expected} and {actual}");
        }
    }
}
