//! Digits as people type and paste them: grouped, decorated, under a label, in the digits of other
//! scripts.
//!
//! Receipts, short messages, web pages and spreadsheets group twenty digits by blanks, hyphens,
//! dots, thin spaces or tabs, put them in quotation marks, or a label in front. None of that is
//! ambiguous, so it is left out. Letters are: whether an O is a zero is for a person to say, so
//! they are named.

use std::fmt;

use thiserror::Error;

/// The zeros of all decimal digits in Unicode 16 (general category Nd); nine more follow each.
const ZEROS: &[u32] = &[
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50,
    0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40,
    0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40,
    0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA,
    0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16130, 0x16A60, 0x16AC0,
    0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0,
    0x1E5F1, 0x1E950, 0x1FBF0,
];

/// More strange characters than this are not listed.
const LISTED: usize = 5;

/// Why a text is not digits. Quotes letters and never a digit: tokens are worth money.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TypedError {
    /// No digit is in it.
    #[error("there is no digit in it")]
    Empty,
    /// A number with an exponent, as spreadsheets write long ones.
    #[error(
        "this is a number with an exponent (E+..): a spreadsheet has rounded it to 15 digits and the last ones are lost; \
         take it from where it was before, into a column that is formatted as text"
    )]
    Rounded,
    /// Letters and other characters that are no digits and separate none.
    #[error("{}", list(.0))]
    Strange(Vec<Strange>),
}

/// A character that is no digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strange {
    /// The character.
    pub character: char,
    /// Which character of the text it is, counted from 1.
    pub position: usize,
    /// Where among the digits it stands, counted from 1.
    pub digit: usize,
}

impl fmt::Display for Strange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { character, position, digit } = *self;
        write!(f, "character {position}, where digit {digit} should be, is ")?;
        match character {
            letter if letter.is_alphabetic() => write!(f, "the letter {letter}")?,
            control if control.is_control() => {
                write!(f, "the control character {:#04x}", u32::from(control))?
            }
            other => write!(f, "{other}")?,
        }
        match meant(character) {
            Some(meant) => write!(f, " (the digit {meant}?)"),
            None => Ok(()),
        }
    }
}

fn list(strange: &[Strange]) -> String {
    let mut text: Vec<String> = strange.iter().take(LISTED).map(ToString::to_string).collect();
    if strange.len() > LISTED {
        text.push(format!("and {} more", strange.len() - LISTED));
    }
    text.join("; ")
}

/// The digit that a letter is often taken for.
fn meant(letter: char) -> Option<char> {
    match letter {
        // Latin, Cyrillic, Greek.
        'O' | 'o' | 'Q' | 'D' | 'О' | 'о' | 'Ο' | 'ο' => Some('0'),
        'I' | 'l' | 'i' | 'L' | 'І' | 'і' | 'Ι' | 'ι' => Some('1'),
        'Z' | 'z' => Some('2'),
        'S' | 's' => Some('5'),
        'B' => Some('8'),
        _ => None,
    }
}

/// Whether a letter looks like 0 or 1 in most types: such letters do not make a label.
fn is_look_alike(letter: char) -> bool {
    matches!(letter, 'O' | 'o' | 'I' | 'l' | 'О' | 'о' | 'І' | 'і' | 'Ο' | 'ο' | 'Ι' | 'ι')
}

/// The value of a decimal digit of any script, as an ASCII digit.
pub fn decimal_digit(character: char) -> Option<char> {
    let code = u32::from(character);
    let zero = ZEROS.iter().rev().find(|zero| **zero <= code)?;
    char::from_digit(code - zero, 10)
}

/// Whether a character only separates digits: blanks of all kinds, line ends, punctuation, marks
/// without width.
fn separates(character: char) -> bool {
    character.is_whitespace() || !(character.is_alphanumeric() || character.is_control())
}

/// The digits of a text, as ASCII. Whatever separates them is left out, and so is a label in front
/// of them.
///
/// # Errors
/// [`TypedError`].
pub fn digits(text: &str) -> Result<String, TypedError> {
    if is_rounded(text) {
        return Err(TypedError::Rounded);
    }
    let label = label(text);
    let mut digits = String::new();
    let mut strange = Vec::new();
    for (index, character) in text.char_indices().filter(|(index, _)| *index >= label) {
        if let Some(digit) = decimal_digit(character) {
            digits.push(digit);
        } else if !separates(character) {
            let position = text[..index].chars().count() + 1;
            strange.push(Strange { character, position, digit: digits.len() + strange.len() + 1 });
        }
    }
    match (digits.is_empty(), strange.is_empty()) {
        (_, false) => Err(TypedError::Strange(strange)),
        (true, true) => Err(TypedError::Empty),
        (false, true) => Ok(digits),
    }
}

/// Where the label ends: `Token:`, `Token No.`, `token 1 of 3  `. Zero if there is none.
fn label(text: &str) -> usize {
    let is_label = |part: &str| part.chars().any(|c| c.is_alphabetic() && !is_look_alike(c));
    let mut end = match text.find([':', '=', '：']) {
        Some(colon) if is_label(&text[..colon]) => colon,
        _ => {
            let first = text.find(|c| decimal_digit(c).is_some()).unwrap_or(text.len());
            if is_label(&text[..first]) && first < text.len() { first } else { return 0 }
        }
    };
    // Which of a set it is.
    let rest = text[end..].trim_start_matches([':', '=', '：', ' ']);
    if let Some(behind) = ordinal(rest) {
        end = text.len() - behind.len();
    }
    end
}

/// What stands behind `1 of 3` or `1/3`, one or two digits each.
fn ordinal(text: &str) -> Option<&str> {
    let number = |text: &str| -> Option<usize> {
        let length = text.chars().take_while(char::is_ascii_digit).count();
        (1..=2).contains(&length).then_some(length)
    };
    let rest = text[number(text)?..].trim_start();
    let rest = rest.strip_prefix("of").or_else(|| rest.strip_prefix('/'))?.trim_start();
    Some(&rest[number(rest)?..])
}

/// Whether it is one number with an exponent: `5.64931537254503E+19`, `5,65e19`, `5.65 x 10^19`.
fn is_rounded(text: &str) -> bool {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'')).collect();
    let number = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
    };
    let exponent = |text: &str| {
        let digits = text.trim_start_matches(['+', '-']);
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    ["E", "e", "x10^", "X10^", "×10^", "*10^"].iter().any(|sign| {
        text.split_once(sign).is_some_and(|(mantissa, power)| number(mantissa) && exponent(power))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "56493153725450313471";

    #[test]
    fn groups_and_decoration_are_left_out() {
        for text in [
            "5649 3153 7254 5031 3471",
            "5649-3153-7254-5031-3471",
            "5649\u{2010}3153\u{2011}7254\u{2013}5031\u{2014}3471",
            "5649\u{2212}3153\u{ad}7254_5031~3471",
            "5649.3153.7254.5031.3471",
            "56,493,153,725,450,313,471",
            "56'493'153'725'450'313'471",
            "5649/3153/7254/5031/3471",
            "5649\u{a0}3153\u{2009}7254\u{202f}5031\u{3000}3471",
            "5649\t3153\t7254\t5031\t3471",
            "5649\r\n3153\n7254\r5031\u{2028}3471\n",
            "\"56493153725450313471\"",
            "\u{201c}56493153725450313471\u{201d}",
            "'56493153725450313471",
            "=\"56493153725450313471\"",
            "#56493153725450313471#",
            "*56493153725450313471#",
            "(5649) 3153 7254 5031 3471.",
            "\u{feff}\u{200b}5649\u{200c}3153\u{200d}7254\u{2060}5031\u{200e}3471\u{200f}\u{202c}\u{2069}",
            "Token: 56493153725450313471",
            "Token No: 5649 3153 7254 5031 3471",
            "TOKEN NO. 5649 3153 7254 5031 3471",
            "token             5649 3153 7254 5031 3471",
            "Token 1: 5649 3153 7254 5031 3471",
            "token 1 of 3  5649 3153 7254 5031 3471",
            "Token 2/3: 5649 3153 7254 5031 3471",
            "STS6 token = 5649-3153-7254-5031-3471",
            "Numéro du jeton : 5649 3153 7254 5031 3471",
            "令牌：5649 3153 7254 5031 3471",
            "№ 5649 3153 7254 5031 3471",
            "５６４９ 3153 7254 5031 3471",
            "٥٦٤٩ 3153 ۷۲۵۴ 5031 3471",
            "५६४९ ৩১৫৩ 7254 5031 3471",
            "\u{1d7d3}\u{1d7d4}49 3153 7254 5031 3471",
        ] {
            assert_eq!(digits(text).as_deref(), Ok(TOKEN), "{text:?}");
        }
    }

    #[test]
    fn letters_are_named_with_their_place() {
        let strange = |text: &str| match digits(text) {
            Err(TypedError::Strange(strange)) => strange,
            other => panic!("{text:?}: {other:?}"),
        };
        let found = strange("5649 3153 7254 5031 347I");
        assert_eq!(found, [Strange { character: 'I', position: 24, digit: 20 }]);
        assert_eq!(
            digits("5649 3153 7254 5031 347I").unwrap_err().to_string(),
            "character 24, where digit 20 should be, is the letter I (the digit 1?)"
        );
        for (text, letters) in [
            ("O6493153725450313471", "O"),
            ("Oo493153725450313471", "Oo"),
            ("Il493153725450313471", "Il"),
            ("Token: 564931537254503l3471", "l"),
            ("564931537254О0313471", "О"),
            ("56493153725450313471 kWh", "kWh"),
            ("5649 3153 ① 7254", "①"),
            ("5649\u{0}3153", "\u{0}"),
        ] {
            let found: String = strange(text).iter().map(|strange| strange.character).collect();
            assert_eq!(found, letters, "{text:?}");
        }
        let text = digits("56493x153x725x450x313x471x").unwrap_err().to_string();
        assert!(text.ends_with("and 1 more"), "{text}");
    }

    #[test]
    fn exponents_are_told() {
        for text in [
            "5.64931537254503E+19",
            "5,64931537254503E+19",
            "5.64931537254503e19",
            "\"5.65E+19\"",
            "5E+19",
            "5.65 x 10^19",
            "4.75002E+10",
        ] {
            assert_eq!(digits(text), Err(TypedError::Rounded), "{text}");
        }
        for text in ["", "   ", "\u{200b}", "--"] {
            assert_eq!(digits(text), Err(TypedError::Empty), "{text:?}");
        }
    }

    #[test]
    fn every_zero_begins_ten_digits() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            for value in 0..10 {
                let character = char::from_u32(zero + value).unwrap();
                assert_eq!(decimal_digit(character), char::from_digit(value, 10), "{zero:#x}");
            }
        }
        // Numbers, but no decimal digits.
        for character in ['²', '①', '½', 'Ⅳ', '四'] {
            assert_eq!(decimal_digit(character), None);
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_digits_or_a_reason(text: String) {
            match digits(&text) {
                Ok(found) => prop_assert!(!found.is_empty() && found.bytes().all(|byte| byte.is_ascii_digit())),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
