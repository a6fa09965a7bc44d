//! Lists in pages, by key and not by offset: a page costs the same wherever it lies, and rows that
//! appear meanwhile neither repeat nor hide others.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

/// The page size where none is asked for.
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// The largest page; who asks for more gets this (AIP-158).
pub const PAGE_SIZE_MAX: u32 = 1_000;

/// A page that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PageError {
    /// A page size below zero.
    #[error("the page size must not be negative")]
    NegativeSize,
    /// A page token that no list of this kind has given.
    #[error("this is no page token of this list")]
    Token,
}

/// What a page token continues: a token of one list does not fit another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Configurations in the order of their uploads.
    Configurations = 1,
    /// Public keys in the order of their registration.
    PublicKeys = 2,
    /// Clients in the order of their creation.
    Clients = 3,
    /// Allowed key changes in the order in which they were allowed.
    KeyChangePairs = 4,
    /// Approvals in the order in which they were asked for.
    Approvals = 5,
    /// Credentials of a client in the order of their creation.
    Credentials = 6,
}

/// Where the next page starts. Opaque to callers: text of 12 URL-safe characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    listing: u8,
    after: i64,
}

impl PageToken {
    /// The token after the row with this number.
    pub(crate) fn after(listing: Listing, row: i64) -> Self {
        Self { listing: listing as u8, after: row }
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [self.listing; 9];
        bytes[1..].copy_from_slice(&self.after.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for PageToken {
    type Err = PageError;

    fn from_str(text: &str) -> Result<Self, PageError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PageError::Token)?;
        let (&listing, after) = bytes.split_first().ok_or(PageError::Token)?;
        let after = <[u8; 8]>::try_from(after).map(i64::from_be_bytes).map_err(|_| PageError::Token)?;
        if after < 0 { Err(PageError::Token) } else { Ok(Self { listing, after }) }
    }
}

/// Which page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    size: u32,
    after: i64,
}

impl PageRequest {
    /// Parses the two fields of a list request: a size (0: the default; above the largest: the
    /// largest) and the token of the page before (empty: the first page).
    ///
    /// # Errors
    /// [`PageError`].
    pub fn new(listing: Listing, size: i32, token: &str) -> Result<Self, PageError> {
        let size = match u32::try_from(size).map_err(|_| PageError::NegativeSize)? {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        };
        if token.is_empty() {
            return Ok(Self { size, after: 0 });
        }
        let token: PageToken = token.parse()?;
        if token.listing == listing as u8 {
            Ok(Self { size, after: token.after })
        } else {
            Err(PageError::Token)
        }
    }

    /// The first page of the default size.
    pub fn first() -> Self {
        Self { size: PAGE_SIZE_DEFAULT, after: 0 }
    }

    /// How many rows at most.
    pub fn size(self) -> u32 {
        self.size
    }

    /// Only rows with a greater number than this.
    pub(crate) fn row(self) -> i64 {
        self.after
    }
}

/// One page, and where the next one starts if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, at most as many as asked for.
    pub items: Vec<T>,
    /// `None` on the last page.
    pub next: Option<PageToken>,
}

impl<T> Page<T> {
    /// Makes a page from rows with their numbers, of which one more than the page holds was asked
    /// for.
    pub(crate) fn from_rows(listing: Listing, request: PageRequest, mut rows: Vec<(i64, T)>) -> Self {
        let size = request.size as usize;
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|(row, _)| PageToken::after(listing, *row));
        Self { items: rows.into_iter().map(|(_, item)| item).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_continues_its_own_list_only() {
        let token = PageToken::after(Listing::Clients, 77).to_string();
        assert_eq!(token.len(), 12);
        assert_eq!(PageRequest::new(Listing::Clients, 0, &token), Ok(PageRequest { size: 50, after: 77 }));
        assert_eq!(PageRequest::new(Listing::PublicKeys, 0, &token), Err(PageError::Token));
    }

    #[test]
    fn sizes_are_bounded() {
        let size = |size| PageRequest::new(Listing::Clients, size, "").map(PageRequest::size);
        assert_eq!(size(0), Ok(50));
        assert_eq!(size(7), Ok(7));
        assert_eq!(size(i32::MAX), Ok(1_000));
        assert_eq!(size(-1), Err(PageError::NegativeSize));
    }

    #[test]
    fn garbage_is_no_token() {
        let negative = PageToken { listing: 3, after: -1 }.to_string();
        for token in ["x", "AAAA", "not base64!", "AwAAAAAAAABNAA", negative.as_str()] {
            assert_eq!(PageRequest::new(Listing::Clients, 1, token), Err(PageError::Token), "{token}");
        }
    }

    #[test]
    fn the_last_page_has_no_next() {
        let rows = |n: i64| (1..=n).map(|row| (row, ())).collect::<Vec<_>>();
        let request = PageRequest { size: 2, after: 0 };
        assert_eq!(Page::from_rows(Listing::Clients, request, rows(2)).next, None);
        let page = Page::from_rows(Listing::Clients, request, rows(3));
        assert_eq!((page.items.len(), page.next), (2, Some(PageToken::after(Listing::Clients, 2))));
    }
}
