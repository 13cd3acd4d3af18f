//! The machine's clock, and how Google writes times.

use std::time::SystemTime;

/// Seconds since 1970-01-01T00:00:00Z by the machine's clock. The emulator's own clock adds
/// [`Settings::clock_offset_seconds`](crate::Settings::clock_offset_seconds).
pub(crate) fn machine_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Year, month, day, hour, minute, second, and day of the week (0 is Sunday) of a UTC time in seconds since 1970.
fn civil(seconds: i64) -> (i64, i64, i64, i64, i64, i64, i64) {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days counted from 0000-03-01, so that leap days end the year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day, of_day / 3_600, of_day / 60 % 60, of_day % 60, (days + 4).rem_euclid(7))
}

/// RFC 3339 in UTC, as Google writes times in JSON.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (year, month, day, hour, minute, second, _) = civil(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// ISO 8601 in its basic form, as AWS writes `x-amz-date`.
pub(crate) fn basic_iso8601(seconds: i64) -> String {
    rfc3339(seconds).replace(['-', ':'], "")
}

/// The `Date` header's form (RFC 9110 section 5.6.7).
pub(crate) fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second, weekday) = civil(seconds);
    let name = |names: &[&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("???")
    };
    let (weekday, month) = (name(&DAYS, weekday), name(&MONTHS, month - 1));
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, json, http) in [
            (0, "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "2000-02-29T00:00:00Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "2024-12-31T23:59:59Z", "Tue, 31 Dec 2024 23:59:59 GMT"),
        ] {
            assert_eq!(rfc3339(seconds), json);
            assert_eq!(http_date(seconds), http);
        }
    }
}
