//! Looking at a token.
//!
//! One in some two million random digit strings decrypts to a plausible credit. So whoever could
//! ask without end whether digits are a token could find one. What no ledger row explains is
//! answered [`Verdict::NotIssuedHere`], whether or not its CRC holds; more is told only to whoever
//! is permitted, and failures are limited and counted durably.

use std::{collections::HashSet, sync::Arc};

use super::encryption::on_any_token;
use super::{IssueError, Known, MeterNumber, Vending, VerifyError};
use crate::{
    access::{Caller, rights::Group},
    hsm::VendingKey,
    id::ConfigurationId,
    ledger::{Attempted, NewAttempt, RowContent, TokenRow},
    sts::{
        attributes::KeyType,
        cipher::DecoderKey,
        derivation::Derivation,
        meter::MeterPan,
        tid::Tid,
        token::{
            BlockError, ClearBlock, Content, ContentError, LayoutField, Token, TypedTokenError, Unverified,
            key_change::{KeyChange, Section},
        },
    },
};

/// A parsed request to look at a token.
#[derive(Debug, Clone)]
pub struct VerifyOrder {
    /// The token, or why what was typed is none, which is an answer and not a failure.
    pub token: Result<Token, TypedTokenError>,
    /// Under whose key it should be.
    pub configuration: ConfigurationId,
    /// For which meter it should be.
    pub meter: MeterNumber,
    /// Whether to look into a token that was not issued here.
    pub examine_foreign: bool,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Issued here, and a meter takes it.
    Valid,
    /// Issued here, but the key's expiry number is past at its TID.
    KeyExpired,
    /// A credit under a key of type 0 or 1, which no meter takes.
    CreditUnderDefaultKey,
    /// What was typed is no token: not 20 digits, or too large a number.
    NotAToken,
    /// No row of the ledger explains it. Says nothing of its CRC.
    NotIssuedHere,
    /// Class 1, whose CRC holds: anybody may make those.
    MeterTest,
    /// The CRC does not hold: a typing error, another meter or another key. Of class 1, or told by
    /// a look into a foreign token.
    CrcMismatch,
    /// A subclass, register or attribute that the standard does not define, in a token that was
    /// decrypted.
    UnknownSubclass,
    /// Class 1, subclasses 6 to 15, whose CRC holds: a manufacturer's own.
    Proprietary,
    /// Class 3, or subclasses 3 to 5 of class 1, whose CRC holds: reserved by the standard.
    Reserved,
    /// Not issued here, but a token of this meter and key. Told by a look into a foreign token.
    ValidForeign,
}

/// What else there is to know, by what everybody sees in the digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// Why what was typed is no token.
    #[error(transparent)]
    NoToken(#[from] TypedTokenError),
    /// It ends in zeros, and nothing explains it.
    #[error(
        "it ends in 00000, as numbers do that a spreadsheet has rounded: take it from where it was before, \
         into a column that is formatted as text"
    )]
    PerhapsRounded,
    /// What is not defined about it.
    #[error(transparent)]
    Undefined(#[from] ContentError),
    /// Class 3.
    #[error(transparent)]
    Reserved(#[from] BlockError),
    /// A manufacturer's own.
    #[error("what it does is for the manufacturer to say: ask the one with code {0}")]
    AskManufacturer(u16),
    /// A manufacturer's own, under a code that none has.
    #[error("no manufacturer has the code {0}")]
    NoManufacturer(u16),
}

/// What was found.
#[derive(Debug)]
pub struct Verified {
    /// What the token is.
    pub verdict: Verdict,
    /// Its meter.
    pub meter: MeterPan,
    /// What it says, where that may be told. Key bits never are.
    pub content: Option<Content>,
    /// Class and subclass, where they may be told.
    pub class_subclass: Option<(u8, u8)>,
    /// Whether the CRC holds, where that may be told.
    pub crc_holds: Option<bool>,
    /// What else there is to know.
    pub remark: Option<Remark>,
    /// The bits by name, key bits hidden.
    pub layout: Vec<LayoutField>,
    /// The row that explains it.
    pub row: Option<TokenRow>,
    /// The configuration that was asked about.
    pub known: Arc<Known>,
}

impl Vending {
    /// Looks at a token. What the token is never makes this fail.
    ///
    /// # Errors
    /// [`VerifyError`]: the caller may not look, the order is no order, a limit of looks is met, or
    /// HSM or store failed.
    pub async fn verify(&self, caller: &Caller, order: VerifyOrder) -> Result<Verified, VerifyError> {
        if order.examine_foreign {
            caller.may(Group::VerifyForeign)?;
        }
        let known = self.known(order.configuration).await.map_err(narrowed)?;
        caller.may_use(known.id, known.attributes.sgc)?;
        let meter = order.meter.pan(&known).map_err(narrowed)?;
        let answer = |verdict| Verified {
            verdict,
            meter,
            content: None,
            class_subclass: None,
            crc_holds: None,
            remark: None,
            layout: Vec::new(),
            row: None,
            known: known.clone(),
        };
        let token = match order.token {
            Ok(token) => token,
            Err(error) => {
                return Ok(Verified { remark: Some(error.into()), ..answer(Verdict::NotAToken) });
            }
        };
        let remark = token.looks_rounded().then_some(Remark::PerhapsRounded);
        let answer = |verdict| Verified { remark: remark.clone(), ..answer(verdict) };
        let ea = known.attributes.ea;
        if let Some(unverified) = token.unencrypted() {
            return Ok(public(answer(Verdict::CrcMismatch), &unverified, &known));
        }
        let found = self.decrypted(&known, meter, token.clone()).await?;
        if let Some(row) = self.explained(&known, meter, &found, &token).await?
            && let Ok(block) = found.verify()
            && let Ok(content) = Content::parse(&block, ea)
        {
            let verdict = judged(&content, &known);
            let found = Verified { row: Some(row), remark: None, ..answer(verdict) };
            return Ok(told(found, Some(content), &block, &known));
        }
        if !order.examine_foreign {
            return Ok(answer(Verdict::NotIssuedHere));
        }
        self.examine(caller, &known, meter, &found, answer(Verdict::NotIssuedHere)).await
    }

    async fn decrypted(
        &self,
        known: &Known,
        meter: MeterPan,
        token: Token,
    ) -> Result<Unverified, VerifyError> {
        self.servable_key(known)?;
        let keys = self.recorded_keys(known)?;
        let derivation = Derivation::new(&known.attributes, &meter)
            .map_err(|_| VerifyError::Fault("a configuration that cannot derive is in use"))?;
        let ea = known.attributes.ea;
        let permit = self.permit_for(known)?;
        let work = || {
            let token = token.clone();
            move |keys: &[DecoderKey<'_>]| keys.first().map(|key| token.decrypt(ea, *key))
        };
        let wanted = |key: &VendingKey| vec![(*key, derivation)];
        match on_any_token(self.hsm.as_ref(), permit, &keys, wanted, work).await? {
            Some(Ok(found)) => Ok(found),
            Some(Err(_)) | None => Err(VerifyError::Fault("the decoder key does not fit the algorithm")),
        }
    }

    /// The ledger's row of these bits. The CRC plays no part, so that the time taken says nothing
    /// of it.
    async fn explained(
        &self,
        known: &Known,
        meter: MeterPan,
        found: &Unverified,
        token: &Token,
    ) -> Result<Option<TokenRow>, VerifyError> {
        // Bits 55..32, where all but key changes carry it (STS facts §3.3).
        let tid = u32::try_from(found.bits() >> 32 & 0xFF_FFFF).unwrap_or_default();
        let tid = Tid::new(tid).map_err(|_| VerifyError::Fault("24 bits are a TID"))?;
        let row = self.store.issued_token_of_tid(meter, known.attributes.base_date, tid).await?;
        let explains = |row: &TokenRow| {
            matches!(&row.content, RowContent::Sequenced { configuration, block, .. }
                if *configuration == known.id && block.class() == found.class() && block.bits() == found.bits())
        };
        match row.filter(explains) {
            Some(row) => Ok(Some(row)),
            None => self.explaining_change(known, meter, token).await,
        }
    }

    /// The key change of this meter whose set, made again, holds the token.
    async fn explaining_change(
        &self,
        known: &Known,
        meter: MeterPan,
        token: &Token,
    ) -> Result<Option<TokenRow>, VerifyError> {
        // Equal changes have equal digits (STS facts §3.8): one derivation tells for all of them.
        let mut tried = HashSet::new();
        for row in self.store.issued_key_changes(meter, known.id).await? {
            let RowContent::KeyChange { target, roll_over, transfer_sgc, .. } = row.content else { continue };
            if !tried.insert((target, roll_over, transfer_sgc)) {
                continue;
            }
            let Ok(target) = self.known(target).await else { continue };
            let plan = KeyChange::carrying(&target.attributes, transfer_sgc, roll_over);
            let made = match self.both_keys(known, &target, meter) {
                Ok(keys) => self.tokens_of(keys.reserved(self.hsm.as_ref())?, plan).await,
                Err(error) => Err(error),
            };
            match made {
                Ok(tokens) if tokens.contains(token) => return Ok(Some(row)),
                Err(IssueError::Hsm { error, .. }) => return Err(error.into()),
                // A target that was destroyed explains nothing any more.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Looks into a token that was not issued here: counted as a failure first, and taken back if
    /// it is a token.
    async fn examine(
        &self,
        caller: &Caller,
        known: &Known,
        meter: MeterPan,
        found: &Unverified,
        unknown: Verified,
    ) -> Result<Verified, VerifyError> {
        let new = NewAttempt { client: caller.client, meter, now_ms: self.clock.now_ms() };
        let attempt = match self.store.attempt_verification(new).await? {
            Attempted::Granted(attempt) => attempt,
            Attempted::Limited { retry_after } => return Err(VerifyError::Limited(retry_after)),
        };
        let block = found.verify();
        tracing::info!(
            client = %caller.client, credential = %caller.key_id, holds = block.is_ok(), "a foreign token was looked into"
        );
        let Ok(block) = block else {
            return Ok(Verified { verdict: Verdict::CrcMismatch, crc_holds: Some(false), ..unknown });
        };
        self.store.verification_succeeded(attempt).await?;
        Ok(match Content::parse(&block, known.attributes.ea) {
            Ok(content) => {
                let verdict = match judged(&content, known) {
                    Verdict::Valid => Verdict::ValidForeign,
                    other => other,
                };
                told(Verified { verdict, remark: None, ..unknown }, Some(content), &block, known)
            }
            Err(error) => {
                let remark = Some(error.into());
                told(Verified { verdict: Verdict::UnknownSubclass, remark, ..unknown }, None, &block, known)
            }
        })
    }
}

/// What a meter under this key would say, as far as its key tells.
fn judged(content: &Content, known: &Known) -> Verdict {
    let Content::Vending { payload, tid, .. } = content else { return Verdict::Valid };
    let default_key = matches!(known.attributes.kt, KeyType::Ditk | KeyType::Ddtk);
    if tid.is_past(known.attributes.ken) {
        Verdict::KeyExpired
    } else if payload.class_subclass().0 == 0 && default_key {
        Verdict::CreditUnderDefaultKey
    } else {
        Verdict::Valid
    }
}

/// What a token says that is not encrypted; `mistyped` is the answer where its CRC does not hold.
fn public(mistyped: Verified, unverified: &Unverified, known: &Known) -> Verified {
    let crc_holds = unverified.crc_holds();
    let seen = Verified {
        class_subclass: Some((unverified.class(), unverified.subclass())),
        crc_holds: Some(crc_holds),
        ..mistyped
    };
    match unverified.verify() {
        Err(BlockError::Crc) => seen,
        Err(BlockError::Class) if !crc_holds => seen,
        Err(error @ BlockError::Class) => {
            Verified { verdict: Verdict::Reserved, remark: Some(error.into()), ..seen }
        }
        Ok(block) => {
            let content = Content::parse(&block, known.attributes.ea);
            let (verdict, remark) = match &content {
                Ok(Content::Proprietary(own)) => {
                    let code = own.manufacturer();
                    let remark = if own.is_assignable() {
                        Remark::AskManufacturer(code)
                    } else {
                        Remark::NoManufacturer(code)
                    };
                    (Verdict::Proprietary, Some(remark))
                }
                Ok(_) => (Verdict::MeterTest, None),
                Err(error @ ContentError::UnknownSubclass { .. }) => {
                    (Verdict::Reserved, Some((*error).into()))
                }
                Err(error) => (Verdict::UnknownSubclass, Some((*error).into())),
            };
            told(Verified { verdict, remark, ..seen }, content.ok(), &block, known)
        }
    }
}

/// A block whose CRC holds, with what may be told of it.
fn told(found: Verified, content: Option<Content>, block: &ClearBlock, known: &Known) -> Verified {
    Verified {
        content,
        class_subclass: Some((block.class(), block.subclass())),
        crc_holds: Some(true),
        layout: block.layout(known.attributes.ea),
        ..found
    }
}

/// The attributes that a key-change section carries, by name; never its key bits.
pub fn section_fields(section: &Section) -> Vec<(&'static str, String)> {
    match section {
        Section::First { ken_high, krn, roll_over, three_tokens, kt, key: _ } => vec![
            ("ken, high", ken_high.to_string()),
            ("krn", krn.to_string()),
            ("roll-over", roll_over.to_string()),
            ("3-token set", three_tokens.to_string()),
            ("kt", kt.to_string()),
        ],
        Section::Second { ken_low, ti, .. } => {
            vec![("ken, low", ken_low.to_string()), ("ti", ti.to_string())]
        }
        Section::ThirdOfThree { sgc } => vec![("sgc", sgc.to_string())],
        Section::ThirdOfFour { sgc_low, .. } => vec![("sgc, low", sgc_low.to_string())],
        Section::Fourth { sgc_high, .. } => vec![("sgc, high", sgc_high.to_string())],
    }
}

/// Of what issuing may meet, verification meets only this.
fn narrowed(error: IssueError) -> VerifyError {
    match error {
        IssueError::SelfTest(failure) => VerifyError::SelfTest(failure),
        IssueError::Unusable(error) => error.into(),
        IssueError::Meter(error) => error.into(),
        IssueError::Hsm { error, .. } => error.into(),
        IssueError::Store(error) => error.into(),
        _ => VerifyError::Fault("verification met what only issuing meets"),
    }
}
