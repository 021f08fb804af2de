//! How a moment and a span are written. Pure.

use time::OffsetDateTime;

/// `2026-11-24 13:26:16 UTC`.
pub(crate) fn utc(at_ms: u64) -> String {
    let moment = i64::try_from(at_ms / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    match moment {
        Some(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        ),
        // Beyond the year 9999: nobody's clock, and still worth showing.
        None => format!("{at_ms} ms after 1970"),
    }
}

/// `2026-11-24T13:26:16.123Z`, as FHIR writes an instant.
pub(crate) fn instant(at_ms: u64) -> String {
    // No clock is beyond the year 9999; one that is reads as 1970 rather than as no instant at all.
    let seconds = i64::try_from(at_ms / 1000).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at_ms % 1000
    )
}

/// A moment that may not have come: `-` for zero.
pub(crate) fn utc_or_dash(at_ms: u64) -> String {
    match at_ms {
        0 => "-".to_owned(),
        _ => utc(at_ms),
    }
}

/// `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`: two units at most.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, ..) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_526_776_999), "2026-11-24 13:26:16 UTC");
        assert_eq!(utc(u64::MAX), "18446744073709551615 ms after 1970");
        assert_eq!(utc_or_dash(0), "-");
        assert_eq!(instant(1_795_526_776_999), "2026-11-24T13:26:16.999Z");
    }

    #[test]
    fn spans_are_short() {
        for (ms, text) in [
            (0, "0 s"),
            (1, "1 s"),
            (59_000, "59 s"),
            (60_000, "1 min"),
            (3_600_000, "1 h"),
            (12_000_000, "3 h 20 min"),
            (86_400_000, "1 d"),
            (187_200_000, "2 d 4 h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }
}
