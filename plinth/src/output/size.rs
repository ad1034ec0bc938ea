//! Sizes as people write and read them.

use bytesize::ByteSize;

/// Parses `512MiB`, `10GiB` and `2TiB`, for which `512M`, `10G` and `2T` are short, as with other tools for disks; `10GB`
/// (decimal); `4096`.
pub fn parse(text: &str) -> Result<u64, String> {
    let short = text.trim_end().ends_with(['K', 'M', 'G', 'T', 'P', 'k', 'm', 'g', 't', 'p']);
    let long = if short { format!("{}iB", text.trim()) } else { text.trim().to_owned() };
    match long.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        Ok(_) => Err(format!("\"{text}\" is no size: it must be more than 0")),
        Err(_) => Err(format!("\"{text}\" is no size: write a number and a unit, such as 512MiB, 10GiB or 2TiB")),
    }
}

/// Writes a size so that [`parse`] gives it back when it is a round one.
pub fn show(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) if bytes.trailing_zeros() >= *shift => format!("{}{unit}", bytes >> shift),
        Some(_) => ByteSize::b(bytes).display().iec().to_string().replace(' ', ""),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        let rows = [
            ("1GiB", 1 << 30),
            ("1Gi", 1 << 30),
            ("1G", 1 << 30),
            ("10t", 10 << 40),
            ("1gib", 1 << 30),
            ("512 MiB", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("2TiB", 2 << 40),
            ("1GB", 1_000_000_000),
            ("4096", 4096),
        ];
        for (text, bytes) in rows {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in ["", "GiB", "ten", "-1GiB", "1Zorb", "0", "0GiB"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("is no size"), "{text}: {error}");
        }
    }

    #[test]
    fn a_round_size_is_shown_as_it_is_written() {
        for text in ["1GiB", "512MiB", "3TiB", "4KiB", "1.5GiB"] {
            assert_eq!(show(parse(text).expect(text)), text);
        }
        assert_eq!(show((1 << 30) + 1), "1.0GiB");
        assert_eq!(show(12), "12B");
    }
}
