//! The attributes with which tests begin.

use super::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry, KeyType};

impl Attributes {
    /// DKGA04 and EA07, supply group 123456, tariff 1, revision 1, a unique key that never expires,
    /// base date 2014.
    pub(crate) fn example() -> Self {
        Self {
            iin: "600727".parse().unwrap(),
            sgc: "123456".parse().unwrap(),
            ti: "01".parse().unwrap(),
            krn: "1".parse().unwrap(),
            kt: KeyType::Dutk,
            ken: KeyExpiry(255),
            ea: EncryptionAlgorithm::Ea07,
            dkga: Dkga::Dkga04,
            base_date: BaseDate::Y2014,
        }
    }
}
