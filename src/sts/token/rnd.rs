//! RND (STS facts §3).

/// Four random bits that keep two otherwise equal blocks apart. Never the caller's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rnd(u8);

impl Rnd {
    /// From a random byte, of which it keeps the lower half.
    pub fn from_random(byte: u8) -> Self {
        Self(byte & 0xF)
    }

    /// 0..=15.
    pub fn value(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Rnd {
    type Error = RndError;

    fn try_from(value: u8) -> Result<Self, RndError> {
        if value <= 0xF { Ok(Self(value)) } else { Err(RndError(value)) }
    }
}

/// An RND of more than four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an RND is 0 to 15, not {0}")]
pub struct RndError(pub u8);
