//! Tokens: 66 bits, printed as 20 decimal digits (STS facts §3).
//!
//! What may be put into one is parsed into [`Payload`], [`Display`] or a [`key_change`]; each gives
//! [`ClearBlock`]s, which a decoder key turns into [`Token`]s. The way back is [`Token::decrypt`],
//! [`Unverified::verify`], [`Content::parse`].

mod block;
mod content;
mod digits;
mod display;
pub mod key_change;
mod layout;
mod management;
mod payload;
mod rnd;
mod typed;

pub use block::{BlockError, ClearBlock, RegisterClass, Unverified};
pub use content::{Content, ContentError};
pub use digits::{Token, TokenError};
pub use display::{Display, DisplayError, DisplayForm, Proprietary};
pub use layout::LayoutField;
pub use management::{CreditRegister, ExtendedSet, Management, PayloadError};
pub use payload::{Payload, Service};
pub use rnd::{Rnd, RndError};
pub use typed::TypedTokenError;
