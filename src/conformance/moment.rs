//! Times of vectors: UTC wall times in whatever spelling of ISO 8601, or TIDs.

use super::fields::{Fault, Fields};
use crate::sts::attributes::BaseDate;
use crate::sts::tid::Tid;

/// The TID of a token: given as it is, or the minute of its time.
pub(super) fn tid(inputs: Fields<'_>) -> Result<Tid, Fault> {
    if let Some(tid) = given(inputs)? {
        return Ok(tid);
    }
    let base: BaseDate = inputs.needed_coded::<u16, _>("base_date")?;
    base.tid_at(of_datetime(inputs)?).map_err(|error| inputs.fault("datetime", error))
}

/// The second of a vector that asks what happens at a time, since 1970-01-01T00:00Z.
pub(super) fn unix_seconds(inputs: Fields<'_>) -> Result<i64, Fault> {
    match given(inputs)? {
        Some(tid) => Ok(tid.unix_seconds(inputs.needed_coded::<u16, _>("base_date")?)),
        None => of_datetime(inputs),
    }
}

fn given(inputs: Fields<'_>) -> Result<Option<Tid>, Fault> {
    inputs.get("tid")?.map(|tid| Tid::new(tid).map_err(|error| inputs.fault("tid", error))).transpose()
}

fn of_datetime(inputs: Fields<'_>) -> Result<i64, Fault> {
    let text = inputs.needed_text("datetime")?;
    read(&text).ok_or_else(|| inputs.fault("datetime", "no time such as 2018-05-16T07:29:00"))
}

/// The second of a time in ISO 8601: with an offset or a Z, or in UTC without; T or a blank;
/// seconds or none.
pub(super) fn read(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(seconds(instant));
    }
    // A civil time forgets an offset, but one that can be read was read above.
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| seconds(zoned.timestamp()))
}

/// Rounded down, before 1970 too.
fn seconds(instant: jiff::Timestamp) -> i64 {
    instant.as_second() - i64::from(instant.subsec_nanosecond() < 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_minute() {
        // 2018-05-16T07:29:00Z.
        let expected = 1_526_455_740;
        for text in [
            "2018-05-16T07:29:00",
            "2018-05-16T07:29:00Z",
            "2018-05-16T07:29",
            "2018-05-16T07:29Z",
            "2018-05-16 07:29:00",
            "2018-05-16 07:29",
            "2018-05-16T07:29:00.000",
            "2018-05-16T07:29:00.000Z",
            "2018-05-16T09:29:00+02:00",
            "2018-05-16T09:29+02:00",
            "2018-05-16 09:29:00.000+02:00",
            "2018-05-16T02:29:00-0500",
            "2018-05-16t07:29:00z",
            " 2018-05-16T07:29:00 ",
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        assert_eq!(read("2018-05-16T07:29:59.999"), Some(expected + 59));
        for text in ["", "yesterday", "2018-13-16T07:29:00", "07:29", "2018-05-16T07:29:00+99:00"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
