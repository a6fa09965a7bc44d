//! Tokens of class 1, which make a meter test or show something (STS facts §3.6). No key, no TID,
//! no meter: anyone may make them, and they may be cached.

use super::block::ClearBlock;
use super::digits::Token;

/// Why a display token cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisplayError {
    /// More control bits than the form has.
    #[error("the control field has {bits} bits")]
    Control {
        /// Bits of the form's control field.
        bits: u32,
    },
    /// Not a manufacturer code of the form.
    #[error("a manufacturer code of this form is 0 to {largest}")]
    Manufacturer {
        /// The largest code.
        largest: u16,
    },
    /// An extended read past index 63.
    #[error("an extended read has an index of 0 to 63")]
    Index,
}

/// Which meters understand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisplayForm {
    /// Subclass 0, for meters with 2-digit manufacturer codes: 36 control bits, 8 of manufacturer
    /// code.
    TwoDigit = 0,
    /// Subclass 1, for meters with 4-digit manufacturer codes: 28 control bits, 16 of manufacturer
    /// code.
    FourDigit = 1,
    /// Subclass 2, the extended read of STS 202-5: 36 control bits, 8 of zero.
    Extended = 2,
}

impl DisplayForm {
    /// Bits of the manufacturer code, below the control field.
    fn manufacturer_bits(self) -> u32 {
        match self {
            Self::TwoDigit | Self::Extended => 8,
            Self::FourDigit => 16,
        }
    }

    /// Bits of the control field.
    pub fn control_bits(self) -> u32 {
        44 - self.manufacturer_bits()
    }

    fn largest_manufacturer(self) -> u16 {
        match self {
            Self::TwoDigit => 99,
            Self::FourDigit => 9999,
            Self::Extended => 0,
        }
    }
}

/// A display or test token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Display {
    form: DisplayForm,
    control: u64,
    manufacturer: u16,
}

impl Display {
    /// With raw control bits; `manufacturer` 0 speaks to the meters of all manufacturers.
    ///
    /// # Errors
    /// [`DisplayError::Control`], [`DisplayError::Manufacturer`].
    pub fn new(form: DisplayForm, control: u64, manufacturer: u16) -> Result<Self, DisplayError> {
        let (bits, largest) = (form.control_bits(), form.largest_manufacturer());
        if control >> bits != 0 {
            return Err(DisplayError::Control { bits });
        }
        if manufacturer > largest {
            return Err(DisplayError::Manufacturer { largest });
        }
        Ok(Self { form, control, manufacturer })
    }

    /// Test 0, "do them all": every control bit set.
    pub fn all(form: DisplayForm) -> Self {
        Self { form, control: (1 << form.control_bits()) - 1, manufacturer: 0 }
    }

    /// The extended read of an index, 0..=63: six bits at the top of the control field.
    ///
    /// # Errors
    /// [`DisplayError::Index`].
    pub fn read(index: u8) -> Result<Self, DisplayError> {
        if index > 63 {
            return Err(DisplayError::Index);
        }
        Ok(Self { form: DisplayForm::Extended, control: u64::from(index) << 30, manufacturer: 0 })
    }

    /// Its form.
    pub fn form(&self) -> DisplayForm {
        self.form
    }

    /// The control bits, 36 or 28 of them.
    pub fn control(&self) -> u64 {
        self.control
    }

    /// The manufacturer code, 0 for all.
    pub fn manufacturer(&self) -> u16 {
        self.manufacturer
    }

    /// Whether it asks for every test.
    pub fn is_all(&self) -> bool {
        self.form != DisplayForm::Extended
            && *self == Self { manufacturer: self.manufacturer, ..Self::all(self.form) }
    }

    /// Its block.
    pub fn block(&self) -> ClearBlock {
        let content = self.control << self.form.manufacturer_bits() | u64::from(self.manufacturer);
        ClearBlock::seal(1, self.form as u8, content)
    }

    /// Its token.
    pub fn token(&self) -> Token {
        Token::transpose(1, self.block().bits())
    }

    /// What a block of class 1 says; `None` for subclasses above 2 and manufacturer codes that do
    /// not exist.
    pub(super) fn parse(block: &ClearBlock) -> Option<Self> {
        let form = match block.subclass() {
            0 => DisplayForm::TwoDigit,
            1 => DisplayForm::FourDigit,
            2 => DisplayForm::Extended,
            _ => return None,
        };
        let bits = form.manufacturer_bits();
        Self::new(form, block.field(16 + bits, 44 - bits), block.field(16, bits) as u16).ok()
    }
}

/// A token of class 1 that is a manufacturer's own (subclasses 6 to 15): what it does is theirs to
/// say. Such tokens show a balance, reset a relay or pair a keypad; dealers hand them to customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proprietary {
    subclass: u8,
    control: u64,
    manufacturer: u16,
}

impl Proprietary {
    /// 6..=15.
    pub fn subclass(&self) -> u8 {
        self.subclass
    }

    /// The control bits: 28 of them for subclasses 6 to 10, 36 for 11 to 15.
    pub fn control(&self) -> u64 {
        self.control
    }

    /// Bits of the control field.
    pub fn control_bits(&self) -> u32 {
        44 - manufacturer_bits(self.subclass)
    }

    /// The manufacturer code as it stands in the token: 16 bits for subclasses 6 to 10, 8 for 11 to
    /// 15.
    pub fn manufacturer(&self) -> u16 {
        self.manufacturer
    }

    /// Whether a manufacturer can have the code: 100 to 9999 for subclasses 6 to 10, 0 to 99 for 11
    /// to 15.
    pub fn is_assignable(&self) -> bool {
        match self.subclass {
            ..=10 => (100..=9999).contains(&self.manufacturer),
            _ => self.manufacturer <= 99,
        }
    }

    /// What a block of class 1 says; `None` for subclasses below 6.
    pub(super) fn parse(block: &ClearBlock) -> Option<Self> {
        let subclass = block.subclass();
        let bits = manufacturer_bits(subclass);
        (subclass >= 6).then(|| Self {
            subclass,
            control: block.field(16 + bits, 44 - bits),
            manufacturer: block.field(16, bits) as u16,
        })
    }
}

/// Bits of the manufacturer code in the manufacturers' own subclasses.
fn manufacturer_bits(subclass: u8) -> u32 {
    if subclass <= 10 { 16 } else { 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// STS 531 CTSA02 and CTSA24.
    #[test]
    fn published_tokens() {
        assert_eq!(Display::all(DisplayForm::TwoDigit).token().to_string(), "56493153725450313471");
        assert_eq!(Display::all(DisplayForm::FourDigit).token().to_string(), "02305843005052951967");
        assert_eq!(Display::read(0).unwrap().token().to_string(), "02305843009347914912");
        assert_eq!(Display::read(63).unwrap().token().to_string(), "03440750115445279822");
    }

    /// What help desks are asked about (tests/cases/tokens-class1).
    #[test]
    fn manufacturers_own_tokens() {
        let lines = include_str!("../../../tests/cases/tokens-class1/tokens.txt").lines();
        let found: Vec<_> = lines
            .map(|line| {
                let token: Token = line.parse().unwrap();
                let unverified = token.unencrypted().unwrap();
                assert!(unverified.crc_holds(), "{line}");
                let own = unverified.verify().ok().and_then(|block| Proprietary::parse(&block));
                let own = own
                    .map(|own| (own.control(), own.control_bits(), own.manufacturer(), own.is_assignable()));
                (token.class(), unverified.subclass(), own)
            })
            .collect();
        assert_eq!(
            found,
            [
                (1, 11, Some((0x1_0000_0001, 36, 4, true))),
                (1, 7, Some((0x1, 28, 1234, true))),
                (1, 10, Some((0x20, 28, 9999, true))),
                (1, 13, Some((0x1, 36, 37, true))),
                (1, 15, Some((0x400, 36, 99, true))),
                (1, 4, None),
                (3, 1, None),
            ]
        );
        for (subclass, content, assignable) in
            [(6, 99, false), (6, 100, true), (10, 10_000, false), (11, 100, false)]
        {
            let own = Proprietary::parse(&ClearBlock::seal(1, subclass, content)).unwrap();
            assert_eq!((own.manufacturer(), own.is_assignable()), (content as u16, assignable));
        }
    }

    #[test]
    fn values_out_of_range() {
        use DisplayForm::{Extended, FourDigit, TwoDigit};
        assert_eq!(Display::new(TwoDigit, 1 << 36, 0), Err(DisplayError::Control { bits: 36 }));
        assert_eq!(Display::new(FourDigit, 1 << 28, 0), Err(DisplayError::Control { bits: 28 }));
        assert_eq!(Display::new(TwoDigit, 0, 100), Err(DisplayError::Manufacturer { largest: 99 }));
        assert_eq!(Display::new(FourDigit, 0, 10_000), Err(DisplayError::Manufacturer { largest: 9999 }));
        assert_eq!(Display::new(Extended, 0, 1), Err(DisplayError::Manufacturer { largest: 0 }));
        assert_eq!(Display::read(64), Err(DisplayError::Index));
    }

    #[test]
    fn every_test_is_recognised() {
        assert!(Display::all(DisplayForm::FourDigit).is_all());
        assert!(Display::new(DisplayForm::TwoDigit, 0xF_FFFF_FFFF, 11).unwrap().is_all());
        assert!(!Display::new(DisplayForm::TwoDigit, 1, 0).unwrap().is_all());
        assert!(!Display::read(63).unwrap().is_all());
    }
}
