//! The overlap of two generations of a server key: uploads to the old one are opened until a set
//! time. The token says so itself, by a data object beside the keys, so that every server of the
//! token knows.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

use super::error::HsmError;
use super::keys::{KeyId, OldKey, Role};
use super::session::SessionGuard;

/// CKA_LABEL of the notes.
const LABEL: &str = "vendkey old server key";

/// The keys that may overlap: those that open uploads.
const OVERLAPPING: [Role; 2] = [Role::Legacy, Role::Sealed];

/// The text of a note: the id in hex and the time.
fn note(old: &OldKey) -> String {
    format!("{} until {}", old.id, old.until_ms)
}

fn read(note: &[u8]) -> Option<OldKey> {
    let (id, until) = std::str::from_utf8(note).ok()?.split_once(" until ")?;
    let mut bytes = [0; 16];
    hex::decode_to_slice(id, &mut bytes).ok()?;
    let id = KeyId(bytes);
    let role = OVERLAPPING.into_iter().find(|role| role.generation(id).is_some())?;
    Some(OldKey { role, id, until_ms: until.parse().ok()? })
}

/// The notes in the token. Under exclusive locking.
fn notes(guard: &SessionGuard<'_>) -> Result<Vec<(ObjectHandle, Option<OldKey>)>, HsmError> {
    let search = [Attribute::Class(ObjectClass::DATA), Attribute::Label(LABEL.into())];
    let noted = |object| {
        let value = guard.session.get_attributes(object, &[AttributeType::Value])?;
        let value = value.into_iter().find_map(|attribute| match attribute {
            Attribute::Value(value) => Some(value),
            _ => None,
        });
        Ok((object, value.and_then(|value| read(&value))))
    };
    guard.session.find_objects(&search)?.into_iter().map(noted).collect()
}

/// What the token says of this generation. Under exclusive locking.
pub(super) fn of(guard: &SessionGuard<'_>, id: KeyId) -> Result<Option<OldKey>, HsmError> {
    Ok(notes(guard)?.into_iter().filter_map(|(_, note)| note).find(|note| note.id == id))
}

/// Has the token say that a generation is used until a time. Under exclusive locking.
pub(super) fn begin(guard: &SessionGuard<'_>, old: OldKey) -> Result<(), HsmError> {
    if of(guard, old.id)? == Some(old) {
        return Ok(());
    }
    end(guard, old.id)?;
    guard.session.create_object(&[
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Modifiable(false),
        Attribute::Label(LABEL.into()),
        Attribute::Value(note(&old).into_bytes()),
    ])?;
    Ok(())
}

/// Takes what the token says of a generation out of it. Under exclusive locking.
pub(super) fn end(guard: &SessionGuard<'_>, id: KeyId) -> Result<(), HsmError> {
    for (object, note) in notes(guard)? {
        if note.is_some_and(|note| note.id == id) {
            guard.session.destroy_object(object)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_which_key_and_until_when() {
        for role in OVERLAPPING {
            let old = OldKey { role, id: role.own_id(3).unwrap(), until_ms: 1_795_298_400_000 };
            assert_eq!(read(note(&old).as_bytes()), Some(old));
        }
        let audit = Role::Audit.own_id(0).unwrap();
        for other in [format!("{audit} until 5"), "until 5".to_owned(), String::new()] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }
}
