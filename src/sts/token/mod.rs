//! Tokens: 66 bits, printed as 20 decimal digits (STS facts §3).
//!
//! What may be put into one is parsed into [`Payload`], [`Display`] or a [`key_change`]; each gives
//! [`ClearBlock`]s, which a decoder key turns into [`Token`]s. The way back is [`Token::decrypt`],
//! [`Unverified::verify`], [`Content::parse`].
//!
//! # Example
//!
//! 0.1 kWh for a meter whose decoder key is known, and what the digits say again (a published
//! vector: STS 531-1-07, CTSA01, step 1).
//!
//! ```
//! use vendkey::sts::{
//!     amount::{Rounding, UnitAmount},
//!     attributes::{BaseDate, EncryptionAlgorithm},
//!     cipher::DecoderKey,
//!     token::{Content, Payload, Rnd, Service, Token},
//! };
//!
//! let key = DecoderKey::Bits64(&[0x87, 0xF3, 0xEC, 0xBB, 0x2E, 0x46, 0xB4, 0x8F]);
//! let payload = Payload::Credit {
//!     service: Service::Electricity,
//!     amount: UnitAmount::parse("0.1", Rounding::Refuse)?,
//! };
//! let (rnd, tid) = (Rnd::try_from(5)?, BaseDate::Y2014.tid_at(1_393_678_800)?); // 2014-03-01 13:00
//!
//! // Encode: the block with its CRC, encrypted, as 20 digits.
//! let block = payload.block(rnd, tid);
//! assert_eq!(block.bits(), 0x0501_4EEC_0001_3188);
//! let token = block.encrypt(EncryptionAlgorithm::Ea07, key)?;
//! assert_eq!(token.to_string(), "70630503470028726114");
//!
//! // Decode: the same way back. `verify` refuses a block whose CRC does not hold.
//! let token: Token = "70630503470028726114".parse()?;
//! let block = token.decrypt(EncryptionAlgorithm::Ea07, key)?.verify()?;
//! let content = Content::parse(&block, EncryptionAlgorithm::Ea07)?;
//! assert_eq!(content, Content::Vending { payload, rnd: Some(rnd), tid });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
