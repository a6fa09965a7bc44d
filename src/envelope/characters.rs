//! Characters that a configuration never needs and that hide what it says.

use super::fault::FormFault;

/// The first character that no line may hold, comments included: a key pasted with one looks right
/// and is not.
pub(super) fn strange_character(line: &[u8]) -> Option<FormFault> {
    std::str::from_utf8(line).ok()?.chars().find_map(|character| match character {
        '\t' => Some(FormFault::Tab),
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Some(FormFault::SpecialSpace)
        }
        // Soft hyphen, zero width, direction marks, separators, byte order mark.
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => Some(FormFault::Control(character.into())),
        _ if character.is_control() => Some(FormFault::Control(character.into())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_named() {
        for (character, fault) in [
            ("\t", FormFault::Tab),
            ("\u{a0}", FormFault::SpecialSpace),
            ("\u{2009}", FormFault::SpecialSpace),
            ("\u{202f}", FormFault::SpecialSpace),
            ("\0", FormFault::Control(0)),
            ("\u{1b}", FormFault::Control(0x1b)),
            ("\u{7f}", FormFault::Control(0x7f)),
            ("\u{85}", FormFault::Control(0x85)),
            ("\u{ad}", FormFault::Control(0xad)),
            ("\u{200b}", FormFault::Control(0x200b)),
            ("\u{2028}", FormFault::Control(0x2028)),
            ("\u{202e}", FormFault::Control(0x202e)),
            ("\u{feff}", FormFault::Control(0xfeff)),
        ] {
            assert_eq!(
                strange_character(format!("name: ä{character}b").as_bytes()),
                Some(fault),
                "{character:?}"
            );
        }
        assert_eq!(strange_character("name: Größe 数 €  ~".as_bytes()), None);
    }
}
