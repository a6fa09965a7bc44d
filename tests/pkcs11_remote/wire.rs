//! What goes over the socket: a call as the number of its function with its arguments, an answer as
//! its code with what the module wrote. Both ends run on one machine, so words are eight bytes,
//! little-endian, and the module's structures go as they lie in memory.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use zeroize::Zeroizing;

/// How an argument goes over, and what comes back for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    /// A word, in.
    Word,
    /// A pointer and a length: bytes, in.
    Bytes,
    /// A pointer to a mechanism, in. Its parameter has no pointers of its own that count.
    Mechanism,
    /// A pointer and a count: attributes, in.
    Template,
    /// The same: attributes, whose values come back.
    Values,
    /// A pointer and a pointer to a length: bytes, back.
    Output,
    /// A pointer to a word, back.
    Handle,
    /// A pointer, the most that fit, a pointer to a count: words, back.
    Found,
    /// A pointer and a pointer to a count: words, back.
    List,
    /// A pointer to a structure of so many bytes, back. The client has no use for their number.
    Structure(#[allow(dead_code)] usize),
}

/// The number of C_OpenSession, which is none of the table: its callback does not go over.
pub(super) const OPEN_SESSION: u64 = 1_000;

/// What stands for a null pointer in the place of a length.
const NULL: u64 = u64::MAX;
/// No call is larger.
const MOST: u64 = 16 << 20;

/// So much fits into a message before it is moved, which would leave a copy behind.
const ROOM: usize = 1 << 17;

/// A message that is made. It is wiped: the client's memory is searched for keys.
pub(super) struct Message(Zeroizing<Vec<u8>>);

impl Default for Message {
    fn default() -> Self {
        let mut message = Vec::with_capacity(ROOM);
        message.extend([0; 8]);
        Self(message.into())
    }
}

impl Message {
    pub(super) fn word(&mut self, word: u64) {
        self.0.extend(word.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: Option<&[u8]>) {
        self.word(bytes.map_or(NULL, |bytes| bytes.len() as u64));
        self.0.extend(bytes.unwrap_or_default());
    }

    pub(super) fn send(mut self, stream: &mut UnixStream) -> io::Result<()> {
        let length = (self.0.len() as u64 - 8).to_le_bytes();
        self.0[..8].copy_from_slice(&length);
        stream.write_all(&self.0)
    }
}

/// A message that came. It is wiped too.
pub(super) struct Reader {
    bytes: Zeroizing<Vec<u8>>,
    at: usize,
}

impl Reader {
    pub(super) fn receive(stream: &mut UnixStream) -> io::Result<Self> {
        let mut length = [0; 8];
        stream.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Zeroizing::new(vec![0; length as usize]);
        stream.read_exact(&mut bytes)?;
        Ok(Self { bytes, at: 0 })
    }

    pub(super) fn word(&mut self) -> io::Result<u64> {
        let word = self.take(8)?;
        Ok(u64::from_le_bytes(word.as_slice().try_into().unwrap_or_default()))
    }

    pub(super) fn bytes(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match self.word()? {
            NULL => Ok(None),
            length => self.take(length as usize).map(Some),
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        let end = self.at.saturating_add(length);
        let taken = self.bytes.get(self.at..end).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec();
        self.at = end;
        Ok(taken.into())
    }
}

/// The functions that go over the socket, in the order of their numbers, with what calls them.
macro_rules! remote_functions {
    ($each:ident) => {
        $each! {
            C_GetInfo(info: *mut CK_INFO) [Structure(size_of::<CK_INFO>())];
            C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) [Word, List];
            C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) [Word, Structure(size_of::<CK_SLOT_INFO>())];
            C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) [Word, Structure(size_of::<CK_TOKEN_INFO>())];
            C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG) [Word, List];
            C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO)
                [Word, Word, Structure(size_of::<CK_MECHANISM_INFO>())];
            C_CloseSession(session: CK_SESSION_HANDLE) [Word];
            C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO)
                [Word, Structure(size_of::<CK_SESSION_INFO>())];
            C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, length: CK_ULONG)
                [Word, Word, Bytes];
            C_Logout(session: CK_SESSION_HANDLE) [Word];
            C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
                object: *mut CK_OBJECT_HANDLE) [Word, Template, Handle];
            C_CopyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE,
                count: CK_ULONG, copy: *mut CK_OBJECT_HANDLE) [Word, Word, Template, Handle];
            C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) [Word, Word];
            C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE,
                count: CK_ULONG) [Word, Word, Values];
            C_SetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE,
                count: CK_ULONG) [Word, Word, Template];
            C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG)
                [Word, Template];
            C_FindObjects(session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, most: CK_ULONG,
                count: *mut CK_ULONG) [Word, Found];
            C_FindObjectsFinal(session: CK_SESSION_HANDLE) [Word];
            C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
                [Word, Mechanism, Word];
            C_Encrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, count: CK_ULONG, bytes: *mut CK_BYTE,
                length: *mut CK_ULONG) [Word, Bytes, Output];
            C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
                [Word, Mechanism, Word];
            C_Decrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, count: CK_ULONG, bytes: *mut CK_BYTE,
                length: *mut CK_ULONG) [Word, Bytes, Output];
            C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
                [Word, Mechanism, Word];
            C_Sign(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, count: CK_ULONG, bytes: *mut CK_BYTE,
                length: *mut CK_ULONG) [Word, Bytes, Output];
            C_VerifyInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
                [Word, Mechanism, Word];
            C_Verify(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, count: CK_ULONG, signature: *mut CK_BYTE,
                length: CK_ULONG) [Word, Bytes, Bytes];
            C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE,
                count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) [Word, Mechanism, Template, Handle];
            C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE,
                public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG,
                public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE)
                [Word, Mechanism, Template, Template, Handle, Handle];
            C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, by: CK_OBJECT_HANDLE,
                key: CK_OBJECT_HANDLE, bytes: *mut CK_BYTE, length: *mut CK_ULONG)
                [Word, Mechanism, Word, Word, Output];
            C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, by: CK_OBJECT_HANDLE,
                wrapped: *mut CK_BYTE, wrapped_length: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
                key: *mut CK_OBJECT_HANDLE) [Word, Mechanism, Word, Bytes, Template, Handle];
            C_DeriveKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, base: CK_OBJECT_HANDLE,
                template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE)
                [Word, Mechanism, Word, Template, Handle];
        }
    };
}
pub(super) use remote_functions;
