//! How long a call may take: as long as its caller waits, and never for ever.

use std::time::Duration;

use tonic::Request;

/// The longest that a call may take.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(120);
/// How long a call takes whose caller does not say how long it waits.
const CALL_USUAL: Duration = Duration::from_secs(30);
/// What is left for the answer, so that it says what was waited for.
const ANSWER: Duration = Duration::from_millis(500);
/// Where callers say it: up to eight digits and a unit.
const HEADER: &str = "grpc-timeout";

/// How long the cluster may take to answer.
pub(crate) fn time_for<T>(request: &Request<T>) -> Duration {
    let said = request.metadata().get(HEADER).and_then(|value| value.to_str().ok()).and_then(parse);
    let time = said.unwrap_or(CALL_USUAL).min(CALL_MAX);
    time.saturating_sub(ANSWER.min(time / 4))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => number.checked_mul(3600).map(Duration::from_secs),
        "M" => number.checked_mul(60).map(Duration::from_secs),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Request;

    use super::time_for;

    fn time(header: Option<&str>) -> Duration {
        let mut request = Request::new(());
        if let Some(header) = header {
            request.metadata_mut().insert("grpc-timeout", header.parse().unwrap());
        }
        time_for(&request)
    }

    #[test]
    fn a_call_ends_before_its_caller_goes() {
        let rows = [
            (Some("10S"), 9500),
            (Some("1000m"), 750),
            (Some("1M"), 59_500),
            (Some("99999999H"), 119_500),
            (Some("2000000u"), 1500),
            (Some("1000000000n"), 750),
            (Some("0S"), 0),
            (Some(""), 29_500),
            (Some("S"), 29_500),
            (Some("10"), 29_500),
            (None, 29_500),
        ];
        for (header, expected_ms) in rows {
            assert_eq!(time(header), Duration::from_millis(expected_ms), "{header:?}");
        }
    }
}
