//! A day of the calendar, UTC.

use std::fmt;
use std::str::FromStr;

use consilium_protocol::Millis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A day from 1970 to 9999, UTC, written `2027-12-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

/// The text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day is written year-month-day, like 2027-12-31, and exists in the calendar")]
pub struct DayError;

impl Day {
    /// The day of this moment; the last day of 9999 from then on.
    #[must_use]
    pub fn of(now: Millis) -> Self {
        // Days from 1 March of the year 0, so that a leap day is the last of its year. The algorithm is Howard
        // Hinnant's `civil_from_days`; 719,468 days lie before 1970.
        let days = now.0 / DAY_MS + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let last = Self {
            year: 9999,
            month: 12,
            day: 31,
        };
        let fits = || {
            Some(Self {
                year: u16::try_from(year).ok().filter(|year| *year <= 9999)?,
                month: u8::try_from(month).ok()?,
                day: u8::try_from(day).ok()?,
            })
        };
        fits().unwrap_or(last)
    }

    /// The day as one number that grows with time: 20271231.
    #[must_use]
    pub fn as_number(self) -> i64 {
        i64::from(self.year) * 10_000 + i64::from(self.month) * 100 + i64::from(self.day)
    }

    /// When it begins.
    #[must_use]
    pub fn begins_at(self) -> Millis {
        Millis(self.days_since_1970() * DAY_MS)
    }

    /// Whether the whole day lies before `now`.
    #[must_use]
    pub fn is_over(self, now: Millis) -> bool {
        now >= self.begins_at().plus_ms(DAY_MS)
    }

    fn days_since_1970(self) -> u64 {
        let years_before = u64::from(self.year) - 1;
        let leap_days = years_before / 4 - years_before / 100 + years_before / 400;
        let months: u64 = (1..self.month)
            .map(|month| u64::from(days_in(self.year, month)))
            .sum();
        // 1 January 1970 is day 719,162 after 1 January of the year 1 (proleptic Gregorian).
        years_before * 365 + leap_days + months + u64::from(self.day) - 1 - 719_162
    }
}

fn days_in(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = text.splitn(4, '-').collect();
        let &[year, month, day] = parts.as_slice() else {
            return Err(DayError);
        };
        let shape = (year.len(), month.len(), day.len()) == (4, 2, 2);
        if !shape || !parts.iter().all(|part| digits_only(part)) {
            return Err(DayError);
        }
        let year: u16 = year.parse().map_err(|_| DayError)?;
        let month: u8 = month.parse().map_err(|_| DayError)?;
        let day: u8 = day.parse().map_err(|_| DayError)?;
        let exists =
            year >= 1970 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        if exists {
            Ok(Self { year, month, day })
        } else {
            Err(DayError)
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_when_the_calendar_says() {
        for (day, begins_s) in [
            ("1970-01-01", 0),
            ("1970-03-01", 5_097_600),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2027-12-31", 1_830_211_200),
            ("2100-03-01", 4_107_542_400),
        ] {
            let parsed: Day = day.parse().unwrap();
            assert_eq!(parsed.begins_at(), Millis(begins_s * 1000), "{day}");
            assert_eq!(parsed.to_string(), day);
            assert_eq!(Day::of(Millis(begins_s * 1000)), parsed);
            assert_eq!(Day::of(Millis(begins_s * 1000 + DAY_MS - 1)), parsed);
        }
    }

    #[test]
    fn every_day_is_the_day_of_its_moments() {
        let mut before = Day::of(Millis(0)).as_number();
        for n in 1..200_000_u64 {
            let day = Day::of(Millis(n * DAY_MS));
            assert_eq!(day.begins_at(), Millis(n * DAY_MS));
            assert!(day.as_number() > before);
            before = day.as_number();
        }
        assert_eq!(Day::of(Millis(u64::MAX)).to_string(), "9999-12-31");
    }

    #[test]
    fn a_last_day_is_a_whole_day() {
        let day: Day = "2027-12-31".parse().unwrap();
        let next_day = Millis(1_830_297_600_000);
        assert!(!day.is_over(Millis(next_day.0 - 1)));
        assert!(day.is_over(next_day));
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2027",
            "2027-12",
            "2027-13-01",
            "2027-00-01",
            "2027-02-29",
            "2100-02-29",
            "2027-04-31",
            "2027-1-1",
            "+027-12-31",
            "1969-12-31",
            "27-12-2031",
            "2027-12-31-",
            "2027-12-31T00:00",
            "２０２７-12-31",
        ] {
            assert_eq!(text.parse::<Day>(), Err(DayError), "{text}");
        }
    }
}
