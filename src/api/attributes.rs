//! The attributes of a key on the wire.

use super::v1;
use crate::sts::attributes::Attributes;

/// Attributes as the API shows them.
pub(super) fn attributes(attributes: &Attributes) -> v1::KeyAttributes {
    v1::KeyAttributes {
        iin: attributes.iin.to_string(),
        sgc: attributes.sgc.to_string(),
        ti: attributes.ti.to_string(),
        krn: attributes.krn.value().into(),
        kt: attributes.kt.value().into(),
        ken: attributes.ken.0.into(),
        ea: attributes.ea.code().into(),
        dkga: attributes.dkga.code().into(),
        base_date: attributes.base_date.year().into(),
    }
}
