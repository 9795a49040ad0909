//! Sizes, percentages and decimal numbers.

use model::Share;

use super::{Form, Parsed, write};
use crate::value::Value;

/// Units with their bytes.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A number of bytes.
pub(crate) const SIZE: Form = Form::new(
    "a size: a whole number above zero with B, KB, MB, GB, TB, KiB, MiB, GiB or TiB, such as \"64MB\"",
    "^0*[1-9][0-9]*([KMGT]i?)?B$",
    size,
);

/// A share of traffic.
pub(crate) const SHARE: Form = Form::new(
    "a percentage from \"0%\" to \"100%\" with at most two decimals, such as \"5%\" or \"0.5%\"",
    "^[0-9]+(\\.[0-9]{1,2})?%$",
    |text| share(text).map(Value::Share),
);

fn size(text: &str) -> Parsed {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let Some(&(_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let unit = unit
            .trim()
            .trim_end_matches(['b', 'B'])
            .to_ascii_uppercase();
        return Err(match unit.as_str() {
            _ if number.is_empty() => None,
            "" => write(format_args!("{number}MB")),
            "K" | "M" | "G" | "T" => write(format_args!("{number}{unit}B")),
            "KI" | "MI" | "GI" | "TI" => write(format_args!("{number}{}iB", &unit[..1])),
            _ => None,
        });
    };
    let number: u64 = number.parse().map_err(|_| None)?;
    match number.checked_mul(bytes) {
        None | Some(0) => Err(None),
        Some(size) => Ok(Value::Whole(size)),
    }
}

/// A percentage with at most two decimals.
pub(crate) fn share(text: &str) -> Result<Share, Option<String>> {
    let number = text.trim_end_matches([' ', '%']);
    let points = decimal(number, 2).ok_or(None)?;
    if text.strip_suffix('%') != Some(number) {
        return Err(write(format_args!("{number}%")));
    }
    let points = u16::try_from(points).map_err(|_| None)?;
    Share::try_new(points).map_err(|_| None)
}

/// A number with at most `places` decimals, in units of the last place.
pub(crate) fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let width = usize::try_from(places).ok()?;
    if !is_number(whole) || !is_number(part) || part.len() > width {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = format!("{part:0<width$}").parse().ok()?;
    whole
        .checked_mul(10_u64.checked_pow(places)?)?
        .checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact_to_a_hundredth() {
        for (text, points) in [("0%", 0), ("0.5%", 50), ("5%", 500), ("33.33%", 3_333)] {
            assert_eq!(
                share(text),
                Share::try_new(points).map_err(|_| None),
                "{text}"
            );
        }
        assert_eq!(share("100%"), Ok(Share::ALL));
        for text in [
            "", "%", "100.01%", "101%", "1.234%", ".5%", "5.%", "-1%", "٥%", "1e1%",
        ] {
            assert_eq!(share(text), Err(None), "{text}");
        }
        for text in ["5", "5 %"] {
            assert_eq!(share(text), Err(write("5%")), "{text}");
        }
    }

    #[test]
    fn sizes_know_both_families_of_units() {
        for (text, bytes) in [("64MB", 64_000_000), ("1GiB", 1 << 30), ("512B", 512)] {
            assert!(
                matches!(size(text), Ok(Value::Whole(seen)) if seen == bytes),
                "{text}"
            );
        }
        for text in ["", "MB", "0MB", "1.5GB", "-1B", "99999999999TiB", "1EB"] {
            assert!(matches!(size(text), Err(None)), "{text}");
        }
        for (text, instead) in [
            ("64", "64MB"),
            ("64m", "64MB"),
            ("1Gi", "1GiB"),
            ("1 kb", "1KB"),
        ] {
            assert_eq!(size(text).err(), Some(write(instead)), "{text}");
        }
    }

    #[test]
    fn decimals_are_read_without_rounding() {
        for (text, thousandths) in [("1", 1_000), ("0.5", 500), ("1.125", 1_125), ("2.0", 2_000)] {
            assert_eq!(decimal(text, 3), Some(thousandths), "{text}");
        }
        for text in ["", ".", "1.", ".5", "1.0001", "1e3", "inf", "-1", "1.2.3"] {
            assert_eq!(decimal(text, 3), None, "{text}");
        }
    }
}
