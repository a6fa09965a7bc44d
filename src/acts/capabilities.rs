//! What this server can do: what the HSM showed, and what the policy lets it issue.

use super::Acts;
use crate::{
    access::{Caller, rights::Group},
    sts::attributes::{Dkga, EncryptionAlgorithm, KeyType},
    vending::{Vending, configurations::kind_of},
};

/// Something that the server can do or cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// What.
    pub name: String,
    /// Whether it can.
    pub served: bool,
    /// How, or why not.
    pub detail: String,
}

/// What this server can do for a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// What the HSM showed.
    pub hsm: Vec<Capability>,
    /// What the policy lets it issue.
    pub algorithms: Vec<Capability>,
    /// Whether the caller may look into tokens that were not issued here.
    pub verify_foreign: bool,
}

impl Acts {
    /// What this server can do.
    pub fn capabilities(&self, caller: &Caller) -> Capabilities {
        let vending = self.vending.as_ref();
        let rows = vending.hsm().first().capabilities().rows().into_iter();
        let pairs = PAIRS.iter().map(|(dkga, ea)| algorithm(vending, *dkga, *ea));
        Capabilities {
            hsm: rows
                .map(|row| Capability { name: row.name, served: row.served, detail: row.detail })
                .collect(),
            algorithms: pairs.chain(key_types(vending)).collect(),
            verify_foreign: caller.rights.may(Group::VerifyForeign),
        }
    }
}

/// Every pair that a configuration can name.
const PAIRS: [(Dkga, EncryptionAlgorithm); 12] = {
    use {Dkga::*, EncryptionAlgorithm::*};
    [
        (Dkga01, Ea07),
        (Dkga01, Ea09),
        (Dkga01, Ea11),
        (Dkga02, Ea07),
        (Dkga02, Ea09),
        (Dkga02, Ea11),
        (Dkga03, Ea07),
        (Dkga03, Ea09),
        (Dkga03, Ea11),
        (Dkga04, Ea07),
        (Dkga04, Ea09),
        (Dkga04, Ea11),
    ]
};

fn algorithm(vending: &Vending, dkga: Dkga, ea: EncryptionAlgorithm) -> Capability {
    let served = pair_served(vending, dkga, ea);
    let is_served = served.is_ok();
    let mut detail = served.err().unwrap_or_else(|| "tokens are issued".to_owned());
    if ea == EncryptionAlgorithm::Ea09 {
        detail.push_str("; EA09 was withdrawn in 2018");
    }
    if dkga == Dkga::Dkga03 {
        detail.push_str("; DKGA03 was withdrawn in 2018");
    }
    Capability { name: format!("{dkga} with {ea}"), served: is_served, detail }
}

/// What is not the same for keys of all types.
fn key_types(vending: &Vending) -> Vec<Capability> {
    let common = vending
        .policy()
        .allows_key_type(Dkga::Dkga04, KeyType::Dctk)
        .map_err(|why| why.to_string())
        .and_then(|()| pair_served(vending, Dkga::Dkga04, EncryptionAlgorithm::Ea07));
    let mut rows = vec![Capability {
        name: "key type 3 (common) under DKGA04".to_owned(),
        served: common.is_ok(),
        detail: common.err().unwrap_or_else(|| {
            "tokens are issued, with the meter's own MeterPAN; no published vector verifies it".to_owned()
        }),
    }];
    for (kt, name) in [(KeyType::Ditk, "initialisation"), (KeyType::Ddtk, "default")] {
        rows.push(Capability {
            name: format!("key type {kt} ({name})"),
            served: true,
            detail: match vending.policy().allows_credit(kt) {
                Ok(()) => "tokens are issued".to_owned(),
                Err(_) => "management tokens and key changes are issued, no credit".to_owned(),
            },
        });
    }
    rows
}

fn pair_served(vending: &Vending, dkga: Dkga, ea: EncryptionAlgorithm) -> Result<(), String> {
    vending.policy().allows_derivation(dkga).map_err(|why| why.to_string())?;
    if !crate::envelope::fits(dkga, ea) {
        return Err(format!("{dkga} makes no decoder keys for {ea}"));
    }
    let kind = kind_of(dkga).ok_or_else(|| format!("{dkga} has no key object"))?;
    vending.hsm().first().capabilities().serves(kind).map_err(|why| why.to_string())
}
