//! The names that the format gives to classes and subclasses.

/// Name, class, subclass.
const TYPES: [(&str, u8, u8); 22] = [
    ("credit_electricity", 0, 0),
    ("credit_water", 0, 1),
    ("credit_gas", 0, 2),
    ("credit_time", 0, 3),
    ("currency_electricity", 0, 4),
    ("currency_water", 0, 5),
    ("currency_gas", 0, 6),
    ("currency_time", 0, 7),
    ("test_display_1", 1, 0),
    ("test_display_2", 1, 1),
    ("test_display_ext", 1, 2),
    ("set_max_power_limit", 2, 0),
    ("clear_credit", 2, 1),
    ("set_tariff_rate", 2, 2),
    ("set_key_1", 2, 3),
    ("set_key_2", 2, 4),
    ("clear_tamper", 2, 5),
    ("set_max_phase_unbalance", 2, 6),
    ("set_water_factor", 2, 7),
    ("set_key_3", 2, 8),
    ("set_key_4", 2, 9),
    ("extended", 2, 10),
];

/// Class and subclass of a type.
pub(super) fn of_name(name: &str) -> Option<(u8, u8)> {
    TYPES.iter().find(|(known, ..)| *known == name).map(|(_, class, subclass)| (*class, *subclass))
}

/// The type of a class and subclass; `None` where the format has no name for it.
pub(super) fn name_of(class: u8, subclass: u8) -> Option<&'static str> {
    TYPES.iter().find(|(_, known, sub)| (*known, *sub) == (class, subclass)).map(|(name, ..)| *name)
}

/// Bits of the manufacturer code at the low end of a content of class 1, its control bits above
/// (STS facts §3.6).
pub(super) fn manufacturer_bits(subclass: u8) -> u32 {
    match subclass {
        1 | 6..=10 => 16,
        _ => 8,
    }
}
