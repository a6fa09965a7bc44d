//! A connection through which rows that decide are read: none that does not bear its seal.

use std::sync::Arc;

use super::engine::{Row, Select, Table, View};
use super::seals::{CheckedRow, Seals};
use super::{Listing, Page, PageRequest, StoreError};

/// A connection, and what checks the seals of what it reads.
#[derive(Debug)]
pub(crate) struct Reading<V> {
    /// The connection, for all that is not under seal.
    pub(crate) view: V,
    pub(super) seals: Arc<Seals>,
}

impl<V: View> Reading<V> {
    pub(crate) fn new(view: V, seals: Arc<Seals>) -> Self {
        Self { view, seals }
    }

    /// The first of the rows that are wanted, if there is one.
    pub(crate) fn load_one(&mut self, select: Select) -> Result<Option<CheckedRow>, StoreError> {
        let first = Select { most: Some(1), ..select };
        let found = self.view.rows(&first)?.into_iter().next();
        found.map(|row| self.seals.check(row)).transpose()
    }

    /// The rows that are wanted.
    pub(crate) fn load_all(&mut self, select: &Select) -> Result<Vec<CheckedRow>, StoreError> {
        let found = self.view.rows(select)?;
        found.into_iter().map(|row| self.seals.check(row)).collect()
    }

    /// The same without the rows that are forged: for counting what is genuine.
    pub(crate) fn load_unforged(&mut self, select: &Select) -> Result<Vec<CheckedRow>, StoreError> {
        let mut genuine = Vec::new();
        for row in self.view.rows(select)? {
            match self.seals.check(row) {
                Ok(row) => genuine.push(row),
                Err(StoreError::Forged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(genuine)
    }

    /// A page of the rows that are wanted, each read.
    pub(super) fn load_page<T>(
        &mut self,
        listing: Listing,
        select: Select,
        page: PageRequest,
        mut read: impl FnMut(&mut Self, &Row) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let rows = self.load_all(&select.page(page.row(), page.size().saturating_add(1)))?;
        let rows: Result<Vec<(i64, T)>, StoreError> =
            rows.iter().map(|row| Ok((row.number, read(self, row)?))).collect();
        Ok(Page::from_rows(listing, page, rows?))
    }

    /// The row whose number a column of another row holds: the database keeps those that are named.
    pub(super) fn load_reference(
        &mut self,
        row: &Row,
        column: &'static str,
        table: Table,
    ) -> Result<CheckedRow, StoreError> {
        let number = row.integer(column)?;
        let gone =
            || StoreError::Corrupt { reason: format!("a row of {} that is named is gone", table.name()) };
        self.load_one(Select::all(table).with("number", number))?.ok_or_else(gone)
    }

    /// Runs a query that sees one state of the rows under seal and of the chain.
    pub(crate) fn snapshot<T>(
        &mut self,
        query: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.view.begin_snapshot()?;
        let found = query(self);
        self.view.end_snapshot();
        found
    }

    /// Whether there is a seal index, and whether there are rows that should be in one.
    pub(crate) fn has_seal_index_and_rows(&mut self) -> Result<(bool, bool), StoreError> {
        let mut rows = false;
        for table in Table::INDEXED {
            rows |= self.has_rows(table)?;
        }
        Ok((self.has_rows(Table::SealIndex)?, rows))
    }

    fn has_rows(&mut self, table: Table) -> Result<bool, StoreError> {
        Ok(!self.view.rows(&Select::all(table).page(0, 1))?.is_empty())
    }
}
