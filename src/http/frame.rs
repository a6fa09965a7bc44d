//! gRPC's frames: whether the message is packed, its length in 4 bytes, most significant first, and
//! its bytes (the gRPC protocol over HTTP/2, Length-Prefixed-Message).

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::DynamicMessage;

const PREFIX: usize = 5;

/// A frame that is none, or that holds what was not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFrame {
    #[error("the message is packed")]
    Packed,
    #[error("the message is longer than a frame can say")]
    TooLong,
}

/// A message in a frame.
pub(super) fn framed(message: &DynamicMessage) -> Result<Bytes, BadFrame> {
    let size = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + size);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(size).map_err(|_| BadFrame::TooLong)?);
    message.encode(&mut bytes).map_err(|_| BadFrame::TooLong)?;
    Ok(bytes.freeze())
}

/// The first message of what came, taken out, if it is whole.
pub(super) fn next(held: &mut BytesMut) -> Result<Option<Bytes>, BadFrame> {
    let Some((&[packed, a, b, c, d], rest)) = held.split_first_chunk::<PREFIX>() else { return Ok(None) };
    if packed != 0 {
        return Err(BadFrame::Packed);
    }
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    if rest.len() < size {
        return Ok(None);
    }
    held.advance(PREFIX);
    Ok(Some(held.split_to(size).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_one_by_one_as_they_become_whole() {
        let mut held = BytesMut::from(&[0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(next(&mut held).unwrap().unwrap(), Bytes::from_static(&[1, 2]));
        assert_eq!(next(&mut held).unwrap().unwrap(), Bytes::new());
        assert_eq!(next(&mut held), Ok(None));
        held.extend_from_slice(&[0, 1]);
        assert_eq!(next(&mut held), Ok(None));
        held.extend_from_slice(&[7]);
        assert_eq!(next(&mut held).unwrap().unwrap(), Bytes::from_static(&[7]));
        assert_eq!(next(&mut BytesMut::from(&[1, 0, 0, 0, 0][..])), Err(BadFrame::Packed));
    }
}
