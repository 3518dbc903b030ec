//! Tables of texts, sums and limits of quantities.

use super::*;

fn parsed(text: &str) -> Quantity {
    Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn i_res_36_prints_the_canonical_text() {
    let cases = [
        ("0", "0"),
        ("0Mi", "0"),
        ("-0", "0"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1.500", "1500m"),
        ("1000m", "1"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("500000", "500k"),
        ("0100m", "100m"),
        ("+1", "1"),
        ("-1.5", "-1500m"),
        ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("2048Ki", "2Mi"),
        ("1023Ki", "1023Ki"),
        (".5Mi", "512Ki"),
        ("0.5Ki", "512"),
        ("0.3Ki", "307200m"),
        ("0.00001Ki", "10240u"),
        ("1.2345Ki", "1264128m"),
        ("-2Ki", "-2Ki"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("100e1", "1e3"),
        ("500e-3", "500e-3"),
        ("1e0", "1"),
        ("1e30", "1e30"),
        ("1E", "1E"),
        ("1000E", "1000E"),
        ("12345678901234567890", "12345678901234567890"),
        ("999999999999999999999", "999999999999999999999"),
        ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567900"),
        ("1n", "1n"),
        ("1u", "1u"),
    ];
    for (text, printed) in cases {
        assert_eq!(parsed(text).to_string(), printed, "{text}");
    }
}

#[test]
fn a_hash_8_keeps_the_spelling_that_upstream_keeps() {
    let cases = [
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1.500", "1.500"),
        ("0.500", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("500000", "500k"),
        ("100u", "1m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("2048Ki", "2Mi"),
        ("100Mi", "100Mi"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("100e1", "1e3"),
        ("0100m", "0100m"),
        ("+1", "+1"),
        (" 7 ", "7"),
        (".", "0"),
        ("-.", "0"),
        ("+", "0"),
        ("m", "0"),
        ("Ki", "0"),
        (".k", "0"),
        ("e5", "0"),
        ("7Ei", "7Ei"),
        ("9Ei", "9223372036854775807"),
        ("-9Ei", "-9223372036854775807"),
        ("1.2345", "1235m"),
        ("-1.2345", "-1235m"),
    ];
    for (source, printed) in cases {
        assert_eq!(stored_text(source, Precision::Milli).as_deref(), Ok(printed), "{source}");
    }
    assert_eq!(stored_text("100u", Precision::Nano).as_deref(), Ok("100u"));
    assert_eq!(stored_text("0.0000000001", Precision::Nano).as_deref(), Ok("1n"));
}

#[test]
fn a_hash_8_refuses_what_kubernetes_refuses() {
    let format = ["", "abc", "1 Mi", " 1", "1..5", "1.2.3", "1Mi5x", "½", "1e5Mi", "0x10", "1Mié"];
    for text in format {
        assert_eq!(Quantity::parse(text), Err(QuantityError::Format), "{text}");
    }
    for text in
        ["1e", "1E+", "1ki", "1mi", "1Mi5", "1MiG", "1e5m", "1m+", "1+5", "--1", "1e99999999999999999999"]
    {
        assert!(Quantity::parse(text).is_err(), "{text}");
    }
    assert_eq!(Quantity::parse("1ki"), Err(QuantityError::Suffix));
}

#[test]
fn i_res_27_adds_and_subtracts_exactly_in_the_format_of_the_left_operand() {
    let cases = [
        ("100m", "1Gi", "1073741824100m"),
        ("1Gi", "100Mi", "1124Mi"),
        ("1000Gi", "500Gi", "1500Gi"),
        ("1Gi", "100", "1073741924"),
        ("0", "1Gi", "1Gi"),
        ("0Mi", "1k", "1k"),
        ("1e3", "500", "1500"),
        ("500", "1e3", "1500"),
        ("1n", "1E", "1000000000000000000000000001n"),
        ("100m", "-100m", "0"),
        ("50m", "-100m", "-50m"),
    ];
    for (left, right, sum) in cases {
        assert_eq!((parsed(left) + parsed(right)).to_string(), sum, "{left} + {right}");
        assert_eq!((parsed(left) - -parsed(right)).to_string(), sum, "{left} - -({right})");
    }
}

#[test]
fn order_looks_at_the_number_alone() {
    let ascending =
        ["-1Gi", "-1G", "-1m", "0", "1n", "999999999n", "1", "1001m", "1k", "1Ki", "1e30", "11e29"];
    for (i, left) in ascending.iter().enumerate() {
        for (j, right) in ascending.iter().enumerate() {
            assert_eq!(parsed(left).cmp(&parsed(right)), i.cmp(&j), "{left} {right}");
        }
    }
    assert_eq!(parsed("1000m"), parsed("1e0"));
    assert_eq!(parsed("1Ki"), parsed("1024"));
}

#[test]
fn i_res_28_thousandths_round_away_from_zero() {
    let cases =
        [("1", 1000), ("1m", 1), ("1n", 1), ("-1n", -1), ("1000001u", 1001), ("0", 0), ("1k", 1_000_000)];
    for (text, milli) in cases {
        assert_eq!(parsed(text).milli_rounded_up(), milli, "{text}");
    }
    assert_eq!(parsed("1e90").milli_rounded_up(), i128::MAX);
    assert_eq!(parsed("-1e90").milli_rounded_up(), -i128::MAX);
    assert_eq!(Quantity::from_milli(1500).to_string(), "1500m");
}

#[test]
fn absurd_input_is_capped_and_cheap() {
    let nines = "9".repeat(1_000_000);
    let cases = [
        (nines.clone(), 84),
        (format!("{nines}Ei"), 19),
        (format!("0.{nines}Gi"), 3),
        (format!("0.{nines}"), 1),
        (format!("1e{nines}"), 0),
        ("1e-2147483648".to_owned(), 4),
        ("1e2147483647".to_owned(), 5),
        (format!("{}1", "0".repeat(1_000_000)), 1),
    ];
    for (text, length) in cases {
        let printed = Quantity::parse(&text).map(|value| value.to_string()).unwrap_or_default();
        assert_eq!(printed.len(), length, "{} {printed}", text.get(..12).unwrap_or(&text));
    }
    let huge = parsed("1e99");
    let tiny = parsed("1n");
    assert_eq!(huge + tiny, tiny + huge);
    assert!(huge + tiny > huge);
    assert_eq!((huge - huge).to_string(), "0");
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_quantity_or_an_error(text in "[-+]?[0-9.]{0,45}([eE][-+]?[0-9]{0,12}|[numkMGTPE]|[KMGTPE]i|.{0,3})") {
        if let Ok(value) = Quantity::parse(&text) {
            let printed = value.to_string();
            assert_eq!(Quantity::parse(&printed), Ok(value), "{text} {printed}");
            assert_eq!(stored_text(&printed, Precision::Nano).map(|text| Quantity::parse(&text)), Ok(Ok(value)));
            assert!(value.is_negative() || value.round_up_to_milli() >= value, "{text}");
        }
    }

    #[test]
    fn sums_are_exact(left in -1_000_000_000_000_i64..1_000_000_000_000, right in -1_000_000_000_000_i64..1_000_000_000_000) {
        let nano = |value: i64| parsed(&format!("{value}n"));
        assert_eq!(nano(left) + nano(right), nano(left + right));
        assert_eq!(nano(left) - nano(right), nano(left - right));
        assert_eq!(nano(left).cmp(&nano(right)), left.cmp(&right));
    }
}
