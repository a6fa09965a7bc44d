//! The standard (IEC 62055-41), pure: no input or output, no clock, no randomness, no async.
//!
//! A token is made in this order, a module for each step: a meter number ([`meter`]) and the
//! attributes of its key ([`attributes`]) say *what* to derive ([`derivation`]); whoever holds the
//! vending key derives a decoder key (an HSM, or [`software`] for tests); an amount ([`amount`])
//! and a token identifier ([`tid`]) are laid into a block with its CRC ([`token`], [`crc`]),
//! encrypted ([`cipher`]) and printed as 20 digits. [`virtual_meter`] is the other end: it answers
//! tokens as a meter would.
//!
//! "STS facts §n" in the comments cites the section of the project's collection of facts about the
//! standard that the code follows.

pub mod amount;
pub mod attributes;
pub mod cipher;
pub mod crc;
pub mod derivation;
mod digits;
pub mod meter;
pub mod software;
pub mod tid;
pub mod token;
pub mod typed;
pub mod virtual_meter;

#[cfg(test)]
mod example;
#[cfg(test)]
mod peer_defects;
#[cfg(test)]
mod properties;
