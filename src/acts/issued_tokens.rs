//! Tokens that were issued before: one, or a list.

use std::sync::Arc;

use uuid::Uuid;

use super::{Acts, Reason, Refusal};
use crate::{
    access::{
        Caller,
        rights::{Group, Scope},
    },
    ledger::{Cursor, RowContent, Sequence, TokenFilter, TokenRow},
    sts::token::Token,
    vending::{IssueError, IssuedToken, Known},
};

/// Which token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenName {
    /// By its number in the ledger.
    Sequence(Sequence),
    /// By the caller's request that made it.
    Request(Uuid),
}

/// Which tokens are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenQuery {
    /// What they have in common.
    pub filter: TokenFilter,
    /// Where the page begins.
    pub after: Cursor,
    /// How many at most.
    pub size: u32,
    /// Whether their digits are wanted: of own tokens only.
    pub digits: bool,
}

/// A token that was issued before.
#[derive(Debug)]
pub struct IssuedEntry {
    /// What the ledger holds of it.
    pub row: TokenRow,
    /// Its configuration, if it has one.
    pub known: Option<Arc<Known>>,
    /// Its digits, where they are asked for and a key makes them.
    pub token: Option<Token>,
}

/// A page of tokens. It may hold fewer than asked for, and none, and still have a next one.
#[derive(Debug)]
pub struct IssuedEntries {
    /// In the order of each chain; those of several by their times, as far as they are known.
    pub entries: Vec<IssuedEntry>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// Whether digits are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    None,
    /// But for those whose key is destroyed: the ledger of a destroyed key can still be listed.
    Possible,
    Needed,
}

impl Acts {
    /// One token; its digits too, if it is the caller's.
    ///
    /// # Errors
    /// TOKEN_NOT_FOUND, for another client's token too; what the HSM and the store say.
    pub async fn issued_token(&self, caller: &Caller, name: TokenName) -> Result<IssuedEntry, Refusal> {
        let row = match name {
            TokenName::Sequence(sequence) => self.store.issued_token(sequence).await?,
            TokenName::Request(id) => self.store.issued_token_of_request(caller.client, id).await?,
        };
        // Another client's token is not there: its number alone must tell nothing.
        let not_found = || Refusal::new(Reason::TokenNotFound, "the ledger has no such token of this client");
        let row = row.ok_or_else(not_found)?;
        if !self.is_visible(caller, &row).await? {
            return Err(not_found());
        }
        let digits = if row.client == caller.client { Digits::Needed } else { Digits::None };
        let mut entries = self.entries(vec![row], digits).await?;
        entries.pop().ok_or_else(|| Refusal::new(Reason::Internal, "a row vanished"))
    }

    /// A page of the tokens that the caller may see.
    ///
    /// # Errors
    /// PERMISSION_DENIED for those of another client; what the HSM and the store say.
    pub async fn list_issued_tokens(
        &self,
        caller: &Caller,
        query: TokenQuery,
    ) -> Result<IssuedEntries, Refusal> {
        let TokenQuery { mut filter, after, size, digits } = query;
        if !caller.rights.may(Group::ReadLedger) || digits {
            if filter.client.is_some_and(|client| client != caller.client) {
                let text = if digits {
                    "digits are given of own tokens only"
                } else {
                    "a client sees its own tokens"
                };
                return Err(Refusal::new(Reason::PermissionDenied, text));
            }
            filter.client = Some(caller.client);
        }
        let page = self.store.list_issued_tokens(filter, after, size).await?;
        let mut rows = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            if self.is_visible(caller, &row).await? {
                rows.push(row);
            }
        }
        let digits = if digits { Digits::Possible } else { Digits::None };
        Ok(IssuedEntries { entries: self.entries(rows, digits).await?, next: page.next })
    }

    /// Whether a caller may see a row: its own always; those of others if it may read the ledger,
    /// and its rights are about their configuration.
    async fn is_visible(&self, caller: &Caller, row: &TokenRow) -> Result<bool, Refusal> {
        if row.client == caller.client {
            return Ok(true);
        }
        if !caller.rights.may(Group::ReadLedger) {
            return Ok(false);
        }
        let scope = caller.rights.configurations();
        Ok(match (scope, row.content.configuration()) {
            (Scope::All, _) | (Scope::Only { .. }, None) => true,
            (Scope::Only { .. }, Some(id)) => scope.admits(id, self.vending.known(id).await?.attributes.sgc),
        })
    }

    /// Rows with what belongs to them.
    async fn entries(&self, rows: Vec<TokenRow>, digits: Digits) -> Result<Vec<IssuedEntry>, Refusal> {
        let mut entries = Vec::with_capacity(rows.len());
        let mut encrypted = if digits != Digits::None {
            let under_key = |row: &&TokenRow| matches!(row.content, RowContent::Sequenced { .. });
            self.vending.reproduce(rows.iter().filter(under_key).cloned().collect()).await.into_iter()
        } else {
            Vec::new().into_iter()
        };
        for row in rows {
            let known = match row.content.configuration() {
                Some(id) => Some(self.vending.known(id).await?),
                None => None,
            };
            let token = match &row.content {
                RowContent::Sequenced { .. } if digits != Digits::None => {
                    let lost = Err(IssueError::Fault("a row was not encrypted"));
                    match encrypted.next().unwrap_or(lost) {
                        Ok(IssuedToken { token, .. }) => Some(token),
                        Err(error) if digits == Digits::Possible && error.is_destroyed() => None,
                        Err(error) => return Err(error.into()),
                    }
                }
                RowContent::Fixed { block, .. } => block.unencrypted(),
                RowContent::Sequenced { .. } | RowContent::KeyChange { .. } => None,
            };
            entries.push(IssuedEntry { row, known, token });
        }
        Ok(entries)
    }
}
