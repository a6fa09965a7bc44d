//! Groups of methods.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::named::{UnknownName, named};

named! {
    /// A group of methods that are permitted together.
    Group, "a group of methods" {
        /// Issue credits and meter tests.
        Vend = "vend",
        /// Issue management tokens: class 2 without key changes.
        Manage = "manage",
        /// Issue key-change sets.
        ChangeKeys = "change_keys",
        /// Ask what a token that was issued here is.
        Verify = "verify",
        /// Look into tokens that were not issued here.
        VerifyForeign = "verify_foreign",
        /// Read the ledger's rows of all clients; one's own need no permission of their own.
        ReadLedger = "read_ledger",
        /// Upload, enable, disable and destroy configurations; allow key changes between them.
        Configurations = "configurations",
        /// Register, enable and disable the keys that sign uploads.
        PublicKeys = "public_keys",
        /// Create and change clients, their rights and their credentials.
        Clients = "clients",
        /// Decide about the ledger: seed meters, accept the clock or a restored database.
        Ledger = "ledger",
        /// Read the audit chain.
        Audit = "audit",
    }
}

impl Group {
    /// Whether it makes its holder an administrator.
    pub fn is_administrative(self) -> bool {
        matches!(self, Self::Configurations | Self::PublicKeys | Self::Clients | Self::Ledger)
    }

    /// Whether it makes tokens that are worth money or carry keys.
    pub fn is_vending(self) -> bool {
        matches!(self, Self::Vend | Self::Manage | Self::ChangeKeys)
    }
}
