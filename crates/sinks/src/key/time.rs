//! The calendar fields of an instant in a zone, as Java's patterns see them, and the English words for them.

use std::fmt::{self, Write};

use chrono::{DateTime, Datelike, Days, Offset, Timelike};
use chrono_tz::{OffsetComponents, Tz};

/// Names of the zones as Java 17 prints them: id, then `z` and `zzzz` in standard and in daylight time, then `v`, `vvvv`.
const ZONES: &str = include_str!("zones.tsv");

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How long a name is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// `Mon`.
    Short,
    /// `Monday`.
    Full,
    /// `M`.
    Narrow,
}

/// An instant in a zone.
#[derive(Debug, Clone)]
pub(super) struct Moment(pub(super) DateTime<Tz>);

impl Moment {
    /// Days since Sunday, 0 to 6: the week of `Locale.US` starts there.
    fn weekday(&self) -> u32 {
        self.0.weekday().num_days_from_sunday()
    }

    /// The value that a numeric pattern letter prints, where the letter is numeric.
    pub(super) fn number(&self, letter: u8) -> Option<i64> {
        let at = &self.0;
        let seconds = i64::from(at.num_seconds_from_midnight());
        let nanos = i64::from(at.nanosecond());
        Some(match letter {
            b'y' | b'u' => i64::from(at.year()),
            b'Y' => i64::from(self.week_end().year()),
            b'w' => i64::from(self.week_end().ordinal0() / 7 + 1),
            b'W' => i64::from((at.day0() + 7 - self.weekday()).div_ceil(7)),
            b'M' | b'L' => i64::from(at.month()),
            b'Q' | b'q' => i64::from(at.month0() / 3 + 1),
            b'D' => i64::from(at.ordinal()),
            b'd' => i64::from(at.day()),
            b'F' => i64::from(at.day0() % 7 + 1),
            b'e' | b'c' => i64::from(self.weekday() + 1),
            b'g' => i64::from(at.num_days_from_ce()) - MODIFIED_JULIAN_EPOCH,
            b'H' => i64::from(at.hour()),
            b'k' => i64::from((at.hour() + 23) % 24 + 1),
            b'K' => i64::from(at.hour() % 12),
            b'h' => i64::from((at.hour() + 11) % 12 + 1),
            b'm' => i64::from(at.minute()),
            b's' => i64::from(at.second()),
            b'n' => nanos,
            b'A' => seconds * 1_000 + nanos / 1_000_000,
            b'N' => seconds * 1_000_000_000 + nanos,
            _ => return None,
        })
    }

    /// The last day of the week. In `Locale.US` the week of 1 January is the first of its year, however little of it
    /// lies there: so a week belongs to the year of its last day.
    fn week_end(&self) -> chrono::NaiveDate {
        let day = self.0.date_naive();
        day.checked_add_days(Days::new(u64::from(6 - self.weekday()))).unwrap_or(day)
    }

    /// The nanoseconds of the second.
    pub(super) fn nanos(&self) -> u32 {
        self.0.nanosecond()
    }

    /// Seconds east of Greenwich.
    pub(super) fn offset_seconds(&self) -> i32 {
        self.0.offset().fix().local_minus_utc()
    }

    /// Writes the English text of a letter that prints text.
    pub(super) fn write_text(&self, letter: u8, width: Width, out: &mut String) -> fmt::Result {
        match letter {
            b'E' | b'e' | b'c' => out.write_str(cut(WEEKDAYS[self.weekday() as usize], width)),
            b'M' | b'L' => out.write_str(cut(MONTHS[self.0.month0() as usize], width)),
            b'Q' | b'q' => self.write_quarter(width, out),
            b'G' => out.write_str(match width {
                Width::Short => "AD",
                Width::Full => "Anno Domini",
                Width::Narrow => "A",
            }),
            b'a' => out.write_str(if self.0.hour() < 12 { "AM" } else { "PM" }),
            b'B' => out.write_str(self.day_period(width)),
            _ => Ok(()),
        }
    }

    fn write_quarter(&self, width: Width, out: &mut String) -> fmt::Result {
        let quarter = self.0.month0() / 3;
        match width {
            Width::Short => write!(out, "Q{}", quarter + 1),
            Width::Full => write!(out, "{} quarter", ["1st", "2nd", "3rd", "4th"][quarter as usize]),
            Width::Narrow => write!(out, "{}", quarter + 1),
        }
    }

    fn day_period(&self, width: Width) -> &'static str {
        let narrow = width == Width::Narrow;
        match (self.0.hour(), self.0.minute()) {
            (0, 0) if narrow => "mi",
            (0, 0) => "midnight",
            (12, 0) if narrow => "n",
            (12, 0) => "noon",
            (6..12, _) => "in the morning",
            (12..18, _) => "in the afternoon",
            (18..21, _) => "in the evening",
            _ => "at night",
        }
    }

    /// The zone's name for `z` (with the season) or `v` (without it). A zone that Java 17 did not know prints as its id.
    pub(super) fn zone_name(&self, generic: bool, width: Width) -> &'static str {
        let id = self.0.timezone().name();
        let columns = ZONES.lines().map(|line| line.split('\t')).find_map(|mut columns| {
            let matches = columns.next() == Some(id);
            matches.then_some(columns)
        });
        let full = usize::from(width == Width::Full);
        let column = match generic {
            true => 4 + full,
            false => 2 * full + usize::from(self.is_daylight()),
        };
        columns.and_then(|mut columns| columns.nth(column)).unwrap_or(id)
    }

    /// Whether Java calls this instant daylight saving time. The time zone database models Ireland and Morocco with a
    /// *negative* winter season; Java's copy of it never does.
    fn is_daylight(&self) -> bool {
        let saving = self.0.offset().dst_offset();
        match self.0.timezone() {
            Tz::Europe__Dublin | Tz::Eire | Tz::Africa__Casablanca | Tz::Africa__El_Aaiun => saving.is_zero(),
            _ => saving > chrono::TimeDelta::zero(),
        }
    }
}

/// Days between 31 December of the year 0 and 17 November 1858.
const MODIFIED_JULIAN_EPOCH: i64 = 678_576;

fn cut(name: &'static str, width: Width) -> &'static str {
    let end = match width {
        Width::Short => 3,
        Width::Full => name.len(),
        Width::Narrow => 1,
    };
    name.get(..end).unwrap_or(name)
}
