//! The advisory locks: numbers that every server knows. Each is of this program by its upper half.

/// "VKEY", in the upper half of the number of every lock.
const OURS: i64 = 0x564B_4559 << 32;

/// Held while the schema is brought up.
pub(super) const MIGRATION: i64 = OURS;

/// Shared by those who record tokens by rows under seal; whoever writes such rows has it alone. It
/// is fair: whoever waits for it alone is not passed by those who share it.
pub(super) const ROWS: i64 = OURS | 1;

/// Shared by all servers, as long as their connections that write live; a command that needs the
/// database for itself has it alone.
pub(super) const DATABASE: i64 = OURS | 2;

/// Held by the server of this number, as long as its connection that writes lives.
pub(super) fn server(number: i64) -> i64 {
    OURS | 1 << 30 | (number & 0xF_FFFF)
}

/// Held by whoever counts against the limits of a client until the end of the transaction. Two
/// clients may share one, which costs time alone.
pub(super) fn client(number: i64) -> i64 {
    OURS | 1 << 31 | (number & 0x7FFF_FFFF)
}
