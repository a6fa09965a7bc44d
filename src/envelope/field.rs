//! The fields that a configuration can have.

/// The fields of a configuration (upload formats §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Type,
    KeyExpiryNo,
    EncryptionAlgorithm,
    TokenCarrierType,
    Dkga,
    TariffIndex,
    KeyRevisionNo,
    VendingKey,
    SupplyGroupCode,
    KeyType,
    BaseDate,
    Iin,
}

impl Field {
    /// All of them, in the order in which faults are told.
    pub(super) const ALL: [Field; 13] = [
        Field::Name,
        Field::Type,
        Field::KeyExpiryNo,
        Field::EncryptionAlgorithm,
        Field::TokenCarrierType,
        Field::Dkga,
        Field::TariffIndex,
        Field::KeyRevisionNo,
        Field::VendingKey,
        Field::SupplyGroupCode,
        Field::KeyType,
        Field::BaseDate,
        Field::Iin,
    ];

    /// As it stands in the text.
    pub(super) fn name(self) -> &'static str {
        match self {
            Field::Name => "name",
            Field::Type => "type",
            Field::KeyExpiryNo => "key_expiry_no",
            Field::EncryptionAlgorithm => "encryption_algorithm",
            Field::TokenCarrierType => "token_carrier_type",
            Field::Dkga => "decoder_key_generation_algorithm",
            Field::TariffIndex => "tariff_index",
            Field::KeyRevisionNo => "key_revision_no",
            Field::VendingKey => "vending_key",
            Field::SupplyGroupCode => "supply_group_code",
            Field::KeyType => "key_type",
            Field::BaseDate => "base_date",
            Field::Iin => "issuer_identification_no",
        }
    }

    /// The field of this name.
    pub(super) fn of(name: &[u8]) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name().as_bytes() == name)
    }
}
