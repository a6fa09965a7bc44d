//! What the HSM holds against what the store knows. Differences are told; nothing is ever deleted
//! for them.

use std::collections::BTreeSet;

use crate::{
    configuration::{Configuration, ConfigurationState, KeyState},
    hsm::{HsmError, KeyId, KeyObject, OwnKey, Role, TokenId, VendingKeys},
    vending::configurations::vending_key,
};

/// All that was found.
#[derive(Debug)]
pub struct Inventory {
    /// The server's own keys.
    pub own: Vec<OwnKey>,
    /// Every configuration, in the order of their uploads.
    pub configurations: Vec<Item>,
    /// Key objects under our labels that no configuration knows: of another server of this token,
    /// or of a database that was lost.
    pub unknown: Vec<KeyObject>,
}

/// A configuration and its objects.
#[derive(Debug)]
pub struct Item {
    /// The row.
    pub configuration: Configuration,
    /// What is to be said of it.
    pub finding: Finding,
}

/// What is to be said of a configuration's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// They are what they must be, and the check value made anew is the one on record.
    Sound,
    /// Its import did not end: objects may be there or not.
    Importing,
    /// It has none and needs none: no token can be issued under it.
    NoKey,
    /// Other tokens hold its key, this one does not.
    Elsewhere,
    /// It is destroyed, and so are they.
    Gone,
    /// They are missing, or not what they must be.
    Faulty(String),
    /// The HSM's key is another one.
    OtherKey {
        /// Its check value.
        kcv: [u8; 3],
    },
    /// It is destroyed, and objects are there.
    NotGone,
}

impl Finding {
    /// Whether somebody must look.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Faulty(_) | Self::OtherKey { .. } | Self::NotGone)
    }
}

impl Inventory {
    /// Whether anything is missing or not what it must be. Unknown objects are no fault.
    pub fn is_sound(&self) -> bool {
        !self.configurations.iter().any(|item| item.finding.is_fault())
    }
}

/// Looks at every object of one token of a server whose first token is `first`. Reads alone; a server
/// may run.
///
/// # Errors
/// The HSM does not answer.
pub async fn take(
    hsm: &dyn VendingKeys,
    (token, first): (TokenId, TokenId),
    rows: Vec<Configuration>,
) -> Result<Inventory, HsmError> {
    let own = hsm.own_keys().await?;
    let objects = hsm.key_objects().await?;
    let held: BTreeSet<(Role, KeyId)> =
        objects.iter().filter_map(|object| Some((object.role, object.id?))).collect();
    let known: BTreeSet<KeyId> = rows.iter().map(id).collect();
    let mut configurations = Vec::with_capacity(rows.len());
    for row in rows {
        let finding = look(hsm, (token, first), &row, &held).await?;
        configurations.push(Item { configuration: row, finding });
    }
    let unknown = objects.into_iter().filter(|object| object.id.is_none_or(|id| !known.contains(&id)));
    Ok(Inventory { own, configurations, unknown: unknown.collect() })
}

fn id(row: &Configuration) -> KeyId {
    KeyId(row.id.to_bytes())
}

async fn look(
    hsm: &dyn VendingKeys,
    (token, first): (TokenId, TokenId),
    row: &Configuration,
    held: &BTreeSet<(Role, KeyId)>,
) -> Result<Finding, HsmError> {
    let any = [Role::VendingKey, Role::Mask].iter().any(|role| held.contains(&(*role, id(row))));
    match row.state {
        ConfigurationState::Importing => return Ok(Finding::Importing),
        ConfigurationState::Destroyed if any => return Ok(Finding::NotGone),
        ConfigurationState::Destroyed => return Ok(Finding::Gone),
        // Under way: there or not.
        _ if row.destroy_begun() => return Ok(Finding::Gone),
        _ => {}
    }
    let Some(key) = vending_key(row, token, first) else {
        if !any && row.keys.iter().any(|key| key.state == KeyState::Held) {
            return Ok(Finding::Elsewhere);
        }
        let faulty = || Finding::Faulty("objects without a use are there".to_owned());
        return Ok(if any { faulty() } else { Finding::NoKey });
    };
    match hsm.inspect_vending_key(key).await {
        Ok(kcv) if Some(kcv) == row.kcv() => Ok(Finding::Sound),
        Ok(kcv) => Ok(Finding::OtherKey { kcv }),
        Err(
            error @ (HsmError::KeyMissing { .. }
            | HsmError::KeyAmbiguous { .. }
            | HsmError::KeyUntrusted { .. }
            | HsmError::NotServed { .. }),
        ) => Ok(Finding::Faulty(error.to_string())),
        Err(error) => Err(error),
    }
}
