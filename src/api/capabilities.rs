//! What this server can do: what the HSM showed, and what the policy lets it issue.

use super::v1;
use crate::{
    sts::attributes::{Dkga, EncryptionAlgorithm},
    vending::{Vending, configurations::kind_of},
};

/// The answer to `GetCapabilities`.
pub(super) fn of(vending: &Vending) -> v1::Capabilities {
    let hsm = vending.hsm().capabilities();
    let rows = hsm.rows().into_iter();
    v1::Capabilities {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hsm: rows
            .map(|row| v1::Capability { name: row.name, served: row.served, detail: row.detail })
            .collect(),
        algorithms: PAIRS.iter().map(|(dkga, ea)| algorithm(vending, *dkga, *ea)).collect(),
        verify_foreign: vending.policy().allows_foreign_verification(),
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

fn algorithm(vending: &Vending, dkga: Dkga, ea: EncryptionAlgorithm) -> v1::Capability {
    let served = pair_served(vending, dkga, ea);
    v1::Capability {
        name: format!("{dkga} with {ea}"),
        served: served.is_ok(),
        detail: served.err().unwrap_or_else(|| "tokens are issued".to_owned()),
    }
}

fn pair_served(vending: &Vending, dkga: Dkga, ea: EncryptionAlgorithm) -> Result<(), String> {
    vending.policy().allows_derivation(dkga).map_err(|why| why.to_string())?;
    if !crate::envelope::fits(dkga, ea) {
        return Err(format!("{dkga} makes no decoder keys for {ea}"));
    }
    let kind = kind_of(dkga).ok_or_else(|| format!("{dkga} has no key object"))?;
    vending.hsm().capabilities().serves(kind).map_err(|why| why.to_string())
}
