//! Configurations.

use serde::{Deserialize, Serialize};

use super::Columns;
use crate::audit::Actor;
use crate::configuration::{
    Begun, Configuration, ConfigurationRefusal, ConfigurationState, ImportedFields, KeyState, MaskedKey,
    NewConfiguration, TokenKey, Transition,
};
use crate::hsm::TokenId;
use crate::id::{ClientId, ConfigurationId, PublicKeyId};
use crate::store::engine::{Row, Select, Table, Transaction, Value, View};
use crate::store::reading::Reading;
use crate::store::seals::CheckedRow;
use crate::store::writing::Writing;
use crate::store::{Listing, Page, PageRequest, StoreError};
use crate::sts::attributes::{Attributes, KeyExpiry};

const TABLE: Table = Table::Configurations;

type Refusable<A> = Result<Result<A, ConfigurationRefusal>, StoreError>;

pub(in crate::store) fn begin_import<T: Transaction>(
    writing: &mut Writing<T>,
    new: &NewConfiguration,
) -> Result<Begun, StoreError> {
    if let Some(known) = of_upload(writing, new.fingerprint)? {
        return Ok(match known.state {
            ConfigurationState::Importing => Begun::Resumed(known),
            _ => Begun::Existing(known),
        });
    }
    if let Some(nonce) = new.nonce
        && writing.load_one(Select::all(TABLE).with("nonce", nonce))?.is_some()
    {
        return Ok(Begun::NonceUsed);
    }
    let change = new.begin();
    writing.insert(TABLE, &columns(&change.row))?;
    writing.append_act(&change.act)?;
    Ok(Begun::Started(change.row))
}

pub(in crate::store) fn finish_import<T: Transaction>(
    writing: &mut Writing<T>,
    id: ConfigurationId,
    fields: &ImportedFields,
    actor: Actor,
    now_ms: i64,
) -> Refusable<Configuration> {
    change(writing, id, (actor, now_ms), |known, actor| known.finish_import(fields, actor, now_ms).map(Some))
}

pub(in crate::store) fn abandon_import<T: Transaction>(
    writing: &mut Writing<T>,
    id: ConfigurationId,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let Some(row) = load(writing, id)? else { return Ok(false) };
    let Some(change) = read(&row)?.abandon_import(now_ms) else { return Ok(false) };
    writing.delete(&row)?;
    writing.append_act(&change.act)?;
    Ok(true)
}

/// Changes a configuration as a decision over it says, for whoever does that and when.
pub(in crate::store) fn change<T: Transaction>(
    writing: &mut Writing<T>,
    id: ConfigurationId,
    (actor, now_ms): (Actor, i64),
    decide: impl FnOnce(&Configuration, Actor) -> Transition,
) -> Refusable<Configuration> {
    let Some(row) = load(writing, id)? else { return Ok(Err(ConfigurationRefusal::NotFound)) };
    let known = read(&row)?;
    let change = match decide(&known, actor.clone()) {
        Ok(Some(change)) => change,
        Ok(None) => {
            writing.append_unchanged(&actor, now_ms)?;
            return Ok(Ok(known));
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    writing.change(&row, &columns(&change.row))?;
    writing.append_act(&change.act)?;
    Ok(Ok(change.row))
}

pub(in crate::store) fn get<V: View>(
    reading: &mut Reading<V>,
    id: ConfigurationId,
) -> Result<Option<Configuration>, StoreError> {
    load(reading, id)?.map(|row| read(&row)).transpose()
}

pub(in crate::store) fn of_upload<V: View>(
    reading: &mut Reading<V>,
    fingerprint: [u8; 32],
) -> Result<Option<Configuration>, StoreError> {
    let row = reading.load_one(Select::all(TABLE).with("fingerprint", fingerprint))?;
    row.map(|row| read(&row)).transpose()
}

pub(in crate::store) fn list<V: View>(
    reading: &mut Reading<V>,
    page: PageRequest,
) -> Result<Page<Configuration>, StoreError> {
    reading.load_page(Listing::Configurations, Select::all(TABLE), page, |_, row| read(row))
}

/// All configurations.
pub(in crate::store) fn all<V: View>(reading: &mut Reading<V>) -> Result<Vec<Configuration>, StoreError> {
    reading.load_all(&Select::all(TABLE))?.iter().map(|row| read(row)).collect()
}

pub(in crate::store) fn due<V: View>(
    reading: &mut Reading<V>,
    now_ms: i64,
) -> Result<Vec<ConfigurationId>, StoreError> {
    let scheduled = Select::all(TABLE).with("state", ConfigurationState::DestroyScheduled.as_str());
    // One that is forged is found by whoever looks at it, and must not be in the way of the others.
    let rows = reading.load_unforged(&scheduled)?;
    let rows = rows.iter().map(|row| read(row)).collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter(|row| row.is_due(now_ms)).map(|row| row.id).collect())
}

/// The number and the row of a configuration.
pub(super) fn load<V: View>(
    reading: &mut Reading<V>,
    id: ConfigurationId,
) -> Result<Option<CheckedRow>, StoreError> {
    reading.load_one(Select::all(TABLE).with("id", id.to_bytes()))
}

/// The state of a row of a configuration.
pub(super) fn state(row: &Row) -> Result<ConfigurationState, StoreError> {
    row.parsed("state")
}

/// The id of a row of a configuration.
pub(super) fn id(row: &Row) -> Result<ConfigurationId, StoreError> {
    row.bytes("id").map(ConfigurationId::from_bytes)
}

fn json(value: &impl Serialize) -> String {
    // Texts always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

/// The key on a token beside the first one of its row, as `other_keys` holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherKey {
    token: Option<[u8; 8]>,
    kcv: [u8; 3],
    destroyed: bool,
    /// Initialisation vector and ciphertext.
    mask: Option<([u8; 16], [u8; 16])>,
}

impl From<&TokenKey> for OtherKey {
    fn from(key: &TokenKey) -> Self {
        Self {
            token: key.token.map(|token| token.0),
            kcv: key.kcv,
            destroyed: key.state == KeyState::Destroyed,
            mask: key.mask.map(|mask| (mask.iv, mask.ciphertext)),
        }
    }
}

impl From<OtherKey> for TokenKey {
    fn from(key: OtherKey) -> Self {
        Self {
            token: key.token.map(TokenId),
            kcv: key.kcv,
            mask: key.mask.map(|(iv, ciphertext)| MaskedKey { iv, ciphertext }),
            state: if key.destroyed { KeyState::Destroyed } else { KeyState::Held },
        }
    }
}

fn columns(row: &Configuration) -> Columns {
    let Attributes { iin, sgc, ti, krn, kt, ken: KeyExpiry(ken), ea, dkga, base_date } = row.attributes;
    let key = row.keys.first();
    let others: Vec<OtherKey> = row.keys.iter().skip(1).map(OtherKey::from).collect();
    let others = Some(others).filter(|others| !others.is_empty());
    let mask = key.and_then(|key| key.mask);
    vec![
        ("id", row.id.to_bytes().into()),
        ("fingerprint", row.fingerprint.into()),
        ("nonce", row.nonce.into()),
        ("state", row.state.as_str().into()),
        ("display_name", row.display_name.as_str().into()),
        ("iin", iin.as_str().into()),
        ("sgc", sgc.as_str().into()),
        ("ti", ti.value().into()),
        ("krn", krn.value().into()),
        ("kt", kt.value().into()),
        ("ken", ken.into()),
        ("ea", ea.code().into()),
        ("dkga", dkga.code().into()),
        ("base_date", base_date.year().into()),
        ("key_length", row.key_length.into()),
        ("servable", row.is_servable().into()),
        ("unservable", json(&row.unservable).into()),
        ("warnings", json(&row.warnings).into()),
        ("token", key.and_then(|key| key.token).map(|token| token.0).into()),
        ("kcv", key.map(|key| key.kcv).into()),
        ("mask_iv", mask.map(|mask| mask.iv).into()),
        ("mask_ciphertext", mask.map(|mask| mask.ciphertext).into()),
        ("other_keys", others.map(|others| json(&others)).into()),
        ("signer", row.signer.to_bytes().into()),
        ("uploaded_by", row.uploaded_by.to_bytes().into()),
        ("created_ms", row.created_ms.into()),
        ("updated_ms", row.updated_ms.into()),
        ("destroy_ms", row.destroy_ms.into()),
        ("destroy_begun_ms", row.destroy_begun_ms.into()),
    ]
}

fn read(row: &Row) -> Result<Configuration, StoreError> {
    let attributes = Attributes {
        iin: row.parsed("iin")?,
        sgc: row.parsed("sgc")?,
        ti: row.coded::<u8, _>("ti")?,
        krn: row.coded::<u8, _>("krn")?,
        kt: row.coded::<u8, _>("kt")?,
        ken: KeyExpiry(row.coded::<u8, u8>("ken")?),
        ea: row.coded::<u8, _>("ea")?,
        dkga: row.coded::<u8, _>("dkga")?,
        base_date: row.coded::<u16, _>("base_date")?,
    };
    let (iv, ciphertext) = (row.bytes_or_null("mask_iv")?, row.bytes_or_null("mask_ciphertext")?);
    let (token, kcv) = (row.bytes_or_null("token")?, row.bytes_or_null("kcv")?);
    let state = state(row)?;
    let key = kcv.map(|kcv| TokenKey {
        token: token.map(TokenId),
        kcv,
        mask: iv.zip(ciphertext).map(|(iv, ciphertext)| MaskedKey { iv, ciphertext }),
        // Those that are destroyed come last.
        state: match state {
            ConfigurationState::Destroyed => KeyState::Destroyed,
            _ => KeyState::Held,
        },
    });
    let others: Vec<OtherKey> = match row.get("other_keys") {
        Value::Null => Vec::new(),
        _ => row.json("other_keys")?,
    };
    let keys = key.into_iter().chain(others.into_iter().map(TokenKey::from)).collect();
    Ok(Configuration {
        id: id(row)?,
        fingerprint: row.bytes("fingerprint")?,
        nonce: row.bytes_or_null("nonce")?,
        state,
        display_name: row.text("display_name")?.to_owned(),
        attributes,
        key_length: row.coded::<u8, u8>("key_length")?,
        unservable: row.json("unservable")?,
        warnings: row.json("warnings")?,
        keys,
        signer: PublicKeyId::from_bytes(row.bytes("signer")?),
        uploaded_by: ClientId::from_bytes(row.bytes("uploaded_by")?),
        created_ms: row.integer("created_ms")?,
        updated_ms: row.integer("updated_ms")?,
        destroy_ms: row.integer_or_null("destroy_ms")?,
        destroy_begun_ms: row.integer_or_null("destroy_begun_ms")?,
    })
}
