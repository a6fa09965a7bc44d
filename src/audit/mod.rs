//! The audit record: canonical bytes of every act, a SHA-256 chain over them, and checkpoints signed by the HSM.
//!
//! To come with the ledger's chain. Its records will be written by the store in the same transaction as what they
//! record, so that nothing is done that is not on record.
