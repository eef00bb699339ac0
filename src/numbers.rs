//! Numbers formatted for people.

/// Large counts: 5,324,800.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count of things: 1 step, 2,000 steps. The plural has an s.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A count of floating-point operations.
pub fn operations(count: f64) -> String {
    const UNITS: [(&str, f64); 5] =
        [("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)];
    let (unit, size) = UNITS.into_iter().find(|(_, size)| count >= *size).unwrap_or(("FLOP", 1.0));
    format!("{:.1} {unit}", count / size)
}

/// Bytes.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A duration: 1 h 02 min, 3 min 05 s, 12 s.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// Seconds with three digits and an SI prefix.
pub fn short(seconds: f64) -> String {
    match seconds {
        s if s >= 100.0 => duration(s),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.1 => format!("{:.0} ms", s * 1e3),
        s if s >= 1e-3 => format!("{:.*} ms", if s < 0.01 { 2 } else { 1 }, s * 1e3),
        s if s >= 1e-6 => format!("{:.*} µs", if s < 1e-5 { 2 } else { 1 }, s * 1e6),
        s => format!("{:.0} ns", s * 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 5_324_800].map(thousands), ["0", "999", "1,000", "5,324,800"]);
        assert_eq!([0, 1, 2000].map(|n| counted(n, "step")), ["0 steps", "1 step", "2,000 steps"]);
        assert_eq!([17, 2048, 5 << 20].map(bytes), ["17 B", "2.0 KiB", "5.0 MiB"]);
        assert_eq!([4.4, 185.0, 3720.0].map(duration), ["4 s", "3 min 05 s", "1 h 02 min"]);
    }

    #[test]
    fn times_have_three_digits() {
        let times = [2.5e-7, 1.234e-6, 36.7e-6, 2.346e-3, 0.0456, 0.432, 1.5, 185.0].map(short);
        let wanted = ["250 ns", "1.23 µs", "36.7 µs", "2.35 ms", "45.6 ms", "432 ms", "1.50 s", "3 min 05 s"];
        assert_eq!(times, wanted);
    }
}
