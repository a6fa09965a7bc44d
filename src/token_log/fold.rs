//! Letters, blanks and digits as they can be compared, whatever language and script they come in.

use crate::sts::typed::decimal_digit;

/// Small letters without accents, ASCII digits, plain blanks and hyphens. Marks without width are
/// left out. Lines stay lines.
pub(super) fn folded(text: &str) -> String {
    text.chars().filter_map(fold).collect()
}

fn fold(character: char) -> Option<char> {
    if character.is_ascii() {
        return Some(match character {
            '\t' | '\r' => ' ',
            other => other.to_ascii_lowercase(),
        });
    }
    if let Some(digit) = decimal_digit(character) {
        return Some(digit);
    }
    Some(match character {
        // Marks that combine, and those without width.
        '\u{300}'..='\u{36f}'
        | '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => return None,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '\u{2018}' | '\u{2019}' => '\'',
        'º' => '°',
        '：' => ':',
        '，' => ',',
        '．' => '.',
        '＝' => '=',
        '／' => '/',
        blank if blank.is_whitespace() => ' ',
        other => letter(other.to_lowercase().next().unwrap_or(other)),
    })
}

/// A small Latin letter without its accent; others as they are.
fn letter(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' => 'i',
        'ñ' | 'ń' => 'n',
        'ò'..='ö' | 'ø' | 'ō' => 'o',
        'š' | 'ś' => 's',
        'ù'..='ü' | 'ū' => 'u',
        'ý' | 'ÿ' => 'y',
        'ž' | 'ź' | 'ż' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_becomes_comparable() {
        for (text, plain) in [
            ("Numéro du JETON :\u{a0}5649", "numero du jeton : 5649"),
            ("Código\u{200b}: 56\u{ad}49", "codigo: 5649"),
            ("５６４９–3153", "5649-3153"),
            ("٥٦٤٩ Énergie\t45,6", "5649 energie 45,6"),
            ("E\u{301}nergie", "energie"),
        ] {
            assert_eq!(folded(text), plain, "{text:?}");
        }
    }
}
