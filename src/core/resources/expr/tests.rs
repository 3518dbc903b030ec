//! The tables of sections 15.3 of specification 20 and 8.9 of specification 10.

use super::*;

/// What a row expects.
enum Outcome {
    /// That canonical quantity.
    Is(&'static str),
    /// An error with that text.
    Error(&'static str),
    /// Any error.
    Refused,
}

use Outcome::{Error, Is, Refused};

fn quantity(text: &str) -> Value {
    Value::Quantity(Quantity::parse(text).expect("the tables hold quantities"))
}

fn check(row: &str, text: &str, names: &[&str], values: &[Value], expected: &Outcome) {
    let result = Expression::compile(text, names).quantity(values).map(|quantity| quantity.to_string());
    match (&result, expected) {
        (Ok(result), Is(expected)) => assert_eq!(result, expected, "{row}: {text}"),
        (Err(error), Error(expected)) => assert_eq!(error.to_string(), *expected, "{row}: {text}"),
        (Err(_), Refused) => {}
        _ => panic!("{row}: {text}: {result:?}"),
    }
}

fn check_all(rows: &[(&str, &str, &[&str], Outcome)]) {
    for (row, variable, texts, expected) in rows {
        let values = if variable.is_empty() { vec![] } else { vec![quantity(variable)] };
        for text in *texts {
            let name = if text.contains("memory") { "memory" } else { "cpu" };
            let names: &[&str] = if variable.is_empty() { &[] } else { &[name] };
            check(row, text, names, &values, expected);
        }
    }
}

#[test]
fn i_t_eval() {
    check_all(&[
        ("half", "200m", &["cpu*50%"], Is("100m")),
        ("memory", "600Mi", &["memory*30%"], Is("180Mi")),
        ("floor", "150m", &["max(cpu*50%, 100m)"], Is("100m")),
        ("above the floor", "400m", &["max(cpu*50%, 100m)"], Is("200m")),
        ("sum", "100m", &["cpu + 50m"], Is("150m")),
        ("memory floor", "800Mi", &["max(memory*20% + 100Mi, 200Mi)"], Is("260Mi")),
        ("constant", "100m", &["500m"], Is("500m")),
        ("constant", "500Mi", &["1Gi"], Is("1Gi")),
        ("unknown name", "100m", &["cpu * invalid"], Error("undefined variable: invalid")),
        ("zero", "0", &["cpu*50%"], Is("0")),
        ("quarter", "400Mi", &["memory*25%"], Is("100Mi")),
        ("bare number", "2Mi", &["1"], Is("1")),
    ]);
}

#[test]
fn i_t_calc() {
    check_all(&[
        (
            "A-T-EXPR-1",
            "",
            &["2 + 3", "2\t+\t3", "2\n+\n3", "2   +   3", "10+-5", "10 + -5", "15 / 3"],
            Is("5"),
        ),
        ("A-T-EXPR-1", "", &["10 - 4", "-2*-3"], Is("6")),
        ("A-T-EXPR-1", "", &["3 * 4"], Is("12")),
        ("A-T-EXPR-1", "", &["(2 + 3) * 4", "( 2 + 3 ) * 4", "max(10, 20)", "max(  10  ,  20  )"], Is("20")),
        ("precedence", "", &["2 + 3 * 4"], Is("14")),
        ("precedence", "", &["2+3+4/2"], Is("7")),
        ("left-assoc", "", &["20 - 8 - 2", "100 / 5 / 2"], Is("10")),
        ("A-T-EXPR-2", "", &["50%"], Is("500m")),
        ("A-T-EXPR-2", "", &["100.5%", "1.005"], Is("1004m")),
        ("A-T-EXPR-2", "", &["100% * 2"], Is("2")),
        ("A-T-EXPR-2", "", &["50% * 200", "1e2", "1E2"], Is("100")),
        (
            "A-T-EXPR-3",
            "",
            &["5..5", "5%%", "2 + @", "(2 + 3", "()", "", "   ", "max()", "max(10, 20, 30)"],
            Refused,
        ),
        ("A-T-EXPR-3", "", &["10 / 0", "max(10, 20 / 0)", "10m/0", "0/-0"], Error("division by zero")),
        (
            "A-T-EXPR-3",
            "",
            &["unknown(1, 2)", "max(10, unknown(20, 30))"],
            Error("unknown function: unknown"),
        ),
        ("A-T-EXPR-51", "", &["Foo(1)"], Error("unknown function: Foo")),
        ("I-RES-30", "", &["max(10)"], Error("max function requires exactly 2 arguments, got 1")),
        ("I-RES-30", "", &["MIN(10)"], Error("min function requires exactly 2 arguments, got 1")),
        ("A-T-EXPR-4", "", &["min(10, 20)", "MIN(10,20)", "20 - 10"], Is("10")),
        ("A-T-EXPR-4", "", &["max(min(10, 20), 15)", "10--5", "10 - -5", "20+-10+5"], Is("15")),
        ("A-T-EXPR-4", "", &["max(min(max(10, 20), 15), 25)"], Is("25")),
        ("A-T-EXPR-4", "", &["max(10 + 5, 20 - 5) * 2"], Is("30")),
        ("A-T-EXPR-5", "", &["1e3", "1E3", "1e+3", "1E+3", "max(1e3, 2e2)", "max(1e3, 100m)"], Is("1k")),
        ("A-T-EXPR-5", "", &["1e-3", "1E-3"], Is("1m")),
        ("A-T-EXPR-5", "", &["1.5e2"], Is("150")),
        ("A-T-EXPR-5", "", &["2.5E+1"], Is("25")),
        ("A-T-EXPR-5", "", &["1e3 + 2e2"], Is("1200")),
        ("A-T-EXPR-5", "", &["1e3+-200"], Is("800")),
        ("A-T-EXPR-5", "", &["1e3 + 500"], Is("1500")),
        ("A-T-EXPR-5", "", &["1.5e2 * 2"], Is("300")),
        ("A-T-EXPR-6", "", &["min(max(max(max(0.5,0.5*0.5),0.5-1.0),0.5-1.0),3.0)"], Is("500m")),
        ("A-T-EXPR-6", "", &["min(max(max(max(500m,0.5*0.5),0.5-1.0),0.5-1.0),3.0)"], Is("500m")),
        ("A-T-EXPR-7", "", &["40m + 20m"], Is("60m")),
        ("A-T-EXPR-7", "", &["100Mi - 50Mi"], Is("50Mi")),
        ("A-T-EXPR-7", "", &["2 * 40m"], Is("80m")),
        ("A-T-EXPR-7", "", &["100m / 2", "max(100m * 50%, 30m)"], Is("50m")),
        ("A-T-EXPR-7", "", &["100m", "200m * 50%", "max(100m, 100m)", "min(100m, 100m)"], Is("100m")),
        ("A-T-EXPR-7", "", &["100m+50m"], Is("150m")),
        ("A-T-EXPR-8", "", &["max(40m, 20)"], Is("20")),
        ("A-T-EXPR-8", "", &["min(40m, 20m)"], Is("20m")),
        ("A-T-EXPR-9", "", &["40m * 2m"], Error("multiplication of two quantities")),
        ("A-T-EXPR-9", "", &["2 / 40m"], Error("division by quantity")),
        ("A-T-EXPR-10", "", &["0m + 0m", "10 - 10"], Is("0")),
        ("A-T-EXPR-10", "", &["1000Gi + 500Gi"], Is("1500Gi")),
        ("A-T-EXPR-10", "", &["1.5Gi * 2"], Is("3Gi")),
        ("A-T-EXPR-10", "", &["1Gi + 100Mi"], Is("1124Mi")),
        ("A-T-EXPR-11", "", &["(100m + 50m) * 2 - 50m"], Is("250m")),
        ("A-T-EXPR-11", "", &["max(100m, min(200m, 150m)) + 50m"], Is("200m")),
        ("A-T-EXPR-14", "", &["-10", "10 - 20"], Error("calculation result is negative: -10")),
        ("A-T-EXPR-14", "", &["-100m"], Error("calculation result is negative: -100m")),
        ("A-T-EXPR-14", "", &["50m - 100m"], Error("calculation result is negative: -50m")),
        ("A-T-EXPR-52", "", &["2*-3"], Error("calculation result is negative: -6")),
        ("A-T-EXPR-52", "", &["--5", "- -5"], Is("5")),
        ("A-T-EXPR-52", "", &["-0", "-0m"], Is("0")),
        (
            "A-T-EXPR-17",
            "",
            &["1e", "1e+", "123xyz", "200MB", "1n", "1E", ".", "50%5", "50%m", "5e*2"],
            Is("0"),
        ),
        ("A-T-EXPR-50", "", &["2cpu", "50%cpu", "100x", "1ki", ".m", "1Kii", ".Ki"], Is("0")),
        ("A-T-EXPR-17", "", &["1e3e2", "1eKi", "1Ei", "+3", "cpu 2", "100Mi5", "0x10", "1,5"], Refused),
        (
            "A-T-EXPR-51",
            "",
            &["1e5Mi", "1e5m", "1e+k"],
            Error(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
        ),
        ("A-T-EXPR-17", "", &[".5 + .5"], Is("1")),
        ("A-T-EXPR-17", "", &[".5Mi"], Is("512Ki")),
        ("A-T-EXPR-17", "", &["1.5+2"], Is("3500m")),
        ("A-T-EXPR-18", "", &["999999999999999999 + 1"], Is("1E")),
        ("A-T-EXPR-18", "", &["0.000000000000000001 + 0.000000000000000002"], Is("0")),
        ("A-T-EXPR-54", "", &["1 + 1Gi"], Is("1073741825")),
        ("A-T-EXPR-54", "", &["1Mi*0.3"], Is("314572800m")),
        ("A-T-EXPR-54", "", &["10m*0.15"], Is("1m")),
        ("I-RES-18", "", &["1\0 + nonsense", "1\u{b}", "1\u{c}", "1\r"], Is("1")),
    ]);
    for unit in ["1k", "100M", "1G", "1T", "1P", "1Ki", "100Mi", "1Gi", "1Ti", "1Pi"] {
        let result = Expression::compile(unit, &[]).quantity(&[]);
        assert_eq!(result.map(|quantity| quantity.to_string()).as_deref(), Ok(unit), "A-T-EXPR-12");
    }
}

#[test]
fn i_t_var() {
    let nested = "min(max(max(max(0.5,0.5*cpu),cpu-1.0),cpu-1.0),3.0)";
    let steps = "0.5*cpu - 0.3*max(0, cpu-4) + 0.3*max(0, cpu-8)";
    check_all(&[
        ("A-T-EXPR-30", "100m", &["cpu"], Is("100m")),
        ("A-T-EXPR-31", "50m", &["cpu * 2"], Is("100m")),
        ("I-RES-17", "100m", &["CPU*2", "max(cpu, 200m)"], Is("200m")),
        ("I-RES-30", "100m", &["Max(CPU, 1)"], Is("1")),
        ("A-T-EXPR-33", "0", &[nested], Is("500m")),
        ("A-T-EXPR-33", "500m", &[nested], Is("500m")),
        ("A-T-EXPR-33", "1", &[nested], Is("500m")),
        ("A-T-EXPR-33", "1500m", &[nested], Is("750m")),
        ("A-T-EXPR-33", "2", &[nested], Is("1")),
        ("A-T-EXPR-33", "3", &[nested], Is("2")),
        ("A-T-EXPR-33", "3500m", &[nested], Is("2500m")),
        ("A-T-EXPR-33", "4", &[nested], Is("3")),
        ("A-T-EXPR-33", "10", &[nested], Is("3")),
        ("A-T-EXPR-34", "100m", &["max(0.25, cpu)"], Is("250m")),
        ("A-T-EXPR-35", "500m", &["max(cpu, 0.75)"], Is("750m")),
        ("A-T-EXPR-36", "1.0", &["min(0.8, cpu)"], Is("800m")),
        ("A-T-EXPR-37", "2.0", &["min(cpu, 1.5)"], Is("1500m")),
        ("A-T-EXPR-38", "1.5", &["max(min(2*cpu,-cpu+3.0),2*cpu-3.0)"], Is("1500m")),
        ("A-T-EXPR-38", "1.5", &["max(min(2*cpu,3.0-cpu),2*cpu-3.0)"], Is("1500m")),
        ("steps", "500m", &[steps], Is("250m")),
        ("steps", "2", &[steps], Is("1")),
        ("steps", "6", &[steps], Is("2400m")),
        ("steps", "10", &[steps], Is("3800m")),
        ("A-T-EXPR-44", "100m", &["undefined_var"], Error("undefined variable: undefined_var")),
        ("A-T-EXPR-39", "200Mi", &["memory + 100Mi"], Is("300Mi")),
        ("A-T-EXPR-40", "8Gi", &["0.5 * memory + max(0, memory-2Gi)"], Is("10Gi")),
        ("A-T-EXPR-41", "200m", &["max(cpu * 50%, 50m)"], Is("100m")),
        ("A-T-EXPR-43", "50m", &["cpu - 100m"], Error("calculation result is negative: -50m")),
        ("I-RES-28", "100m", &["cpu*cpu", "cpu*100m"], Error("multiplication of two quantities")),
        ("I-RES-29", "100m", &["10/cpu", "cpu/cpu"], Error("division by quantity")),
        ("I-RES-17", "1Gi", &["MEMORY*2"], Error("undefined variable: memory")),
        ("I-RES-19", "1", &["max", "cpu*max"], Error("undefined variable: max")),
        ("I-RES-28", "333333u", &["cpu*3"], Is("1002m")),
    ]);
    let two = [quantity("200m"), quantity("400m")];
    check("A-T-EXPR-42", "(cpu1 + cpu2) * 50%", &["cpu1", "cpu2"], &two, &Is("300m"));
    check("A-T-EXPR-42", "max(cpu1, cpu2) * 50%", &["cpu1", "cpu2"], &two, &Is("200m"));
}

#[test]
fn i_t_rnd() {
    check_all(&[
        ("rounding", "100m", &["cpu*29%"], Is("28m")),
        ("rounding", "100m", &["cpu*57%"], Is("56m")),
        ("rounding", "1", &["cpu*29%"], Is("290m")),
        ("rounding", "100m", &["cpu/3"], Is("33m")),
        ("rounding", "1", &["cpu/3", "1/3"], Is("333m")),
        ("rounding", "3", &["cpu/3"], Is("1")),
        ("rounding", "1", &["1.005"], Is("1004m")),
        ("rounding", "1", &["cpu + 1.001"], Is("2")),
        ("rounding", "1", &["0.0015"], Is("1m")),
        ("rounding", "1", &["0.0005"], Is("0")),
        ("rounding", "100Mi", &["memory*33%"], Is("33Mi")),
        ("rounding", "1Gi", &["memory*33%"], Is("354334801920m")),
        ("rounding", "1Gi", &["memory*30%"], Is("322122547200m")),
        ("rounding", "300Mi", &["memory*30%"], Is("90Mi")),
        ("rounding", "1G", &["memory/3"], Is("333333333333m")),
        ("rounding", "1G", &["memory*30%"], Is("300M")),
        ("rounding", "1Gi", &["memory + 100"], Is("1073741924")),
        ("rounding", "1Gi", &["memory + 0.5"], Is("1073741824500m")),
        ("rounding", "1024Mi", &["memory"], Is("1Gi")),
        ("rounding", "1500Mi", &["memory"], Is("1500Mi")),
        ("rounding", "4Gi", &["min(memory*50%, 1G)"], Is("1G")),
        ("rounding", "1", &["1e3"], Is("1k")),
        ("rounding", "1", &["2048"], Is("2048")),
        ("rounding", "1e3", &["cpu*1", "cpu"], Is("1e3")),
    ]);
}

#[test]
fn a_t_expr_53_the_variable_may_be_a_number() {
    let one = [Value::Number(1.0)];
    for (text, expected) in [
        ("2-cpu", Is("1")),
        ("cpu*cpu", Is("1")),
        ("100m*cpu", Is("100m")),
        ("1/cpu", Is("1")),
        ("CPU*50%", Is("500m")),
        ("MAX(CPU,1)", Is("1")),
        ("max(0, cpu-100Mi)", Is("0")),
        ("cpu-2", Error("calculation result is negative: -1")),
        ("1/(cpu-1)", Error("division by zero")),
        ("memory*50%", Error("undefined variable: memory")),
        ("cpu +*/ 50%", Refused),
        ("invalid expression @#$", Refused),
    ] {
        check("A-T-EXPR-53", text, &["cpu"], &one, &expected);
    }
}

/// Rules: I-RES-33, A-EXPR-14.
#[test]
fn i_res_33_the_last_error_counts_and_a_syntax_error_only_alone() {
    for (text, expected) in [
        ("foo + bar", "undefined variable: bar"),
        ("cpu*cpu + 1/0", "division by zero"),
        ("1/0 + cpu*cpu", "multiplication of two quantities"),
        // A failed part poisons what is computed from it, without errors of its own.
        ("cpu + cpu*foo*1.5Gi", "undefined variable: foo"),
        ("max(64Mi, 0.5 / 1Gi) * cpu*33%", "division by quantity"),
        // Computed before the parser meets what it does not know.
        ("cpu*cpu @", "multiplication of two quantities"),
        ("foo 1", "undefined variable: foo"),
        ("foo(1) @", "unknown function: foo"),
        ("foo(1", "parse error: syntax error at line 1, col 6"),
        ("cpu*cpu(", "parse error: syntax error at line 1, col 9"),
        ("cpu +\n@", "parse error: syntax error at line 2, col 2"),
        ("cpu+2.m 1e3e2", "parse error: syntax error at line 1, col 12"),
        ("min(1, 2)*1e+*0%%*1.2.3", "parse error: syntax error at line 1, col 18"),
    ] {
        check("I-RES-33", text, &["cpu"], &[quantity("1")], &Error(expected));
    }
}

#[test]
fn i_def_17_malformed_numbers_are_told() {
    let program = Expression::compile("max(200MB, 1e) + 5é", &[]);
    assert_eq!(program.malformed_numbers(), ["200MB", "1e", "5\u{fffd}"]);
    assert!(Expression::compile("1e3 + 5% + 1Gi", &[]).malformed_numbers().is_empty());
}

#[test]
fn i_res_35_out_of_range_is_an_error_and_not_a_number_is_zero() {
    for text in ["1e999", "1m*1e999", "1e300", "max(1m, 1e300)", "1P*1e40"] {
        check("I-RES-35", text, &[], &[], &Error("calculation result is out of range"));
    }
    check("I-RES-35", "1e999 - 1e999", &[], &[], &Is("0"));
    check("I-RES-22", "1e999%", &[], &[], &Is("0"));
    check("I-RES-35", "cpu*2", &["cpu"], &[quantity("8Pi")], &Is("16Pi"));
}

#[test]
fn deep_nesting_is_an_error() {
    let too_deep = Error("parse error: nested deeper than 200 levels");
    for text in ["(".repeat(1_000_000), "-".repeat(1_000_000), "max(".repeat(1_000_000)] {
        let result = Expression::compile(&text, &[]).quantity(&[]);
        assert_eq!(result, Err(ExprError::TooDeep));
    }
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    check("limit", &nested(199), &[], &[], &Is("1"));
    check("limit", &nested(200), &[], &[], &too_deep);
    let long = vec!["1"; 100_000].join("+");
    check("long", &long, &[], &[], &Is("100k"));
}

proptest::proptest! {
    #[test]
    fn any_text_has_a_result_or_an_error(text in "([-+*/(),]|[0-9.]{1,25}|[eE%]|cpu|max\\(|min\\(|[mkMGTP]i?| |.){0,40}") {
        let value = [quantity("1500m")];
        if let Ok(result) = Expression::compile(&text, &["cpu"]).quantity(&value) {
            assert!(!result.is_negative(), "{text}: {result}");
        }
    }
}
