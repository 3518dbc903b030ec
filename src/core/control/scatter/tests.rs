use serde_json::{Map, json};

use super::*;
use crate::control::fixtures::{mk_pod, refs};

/// Pods of a row such as `- A AC`; of `∅` none is made.
fn mk_row(row: &str) -> Vec<PodFacts> {
    let letters = row.split(' ').enumerate().filter(|(_, letters)| *letters != "∅");
    letters
        .map(|(index, letters)| {
            let label = |letter: char| match letter {
                'x' => ("labelB".to_owned(), json!("other")),
                letter => (format!("label{letter}"), json!(letter.to_string().repeat(3))),
            };
            let labels: Map<_, _> = letters.chars().filter(|c| *c != '-').map(label).collect();
            mk_pod(&format!("{index:03}"), &json!({"metadata": {"labels": labels}}))
        })
        .collect()
}

fn terms_of(letters: &str) -> Vec<ScatterTerm> {
    letters.chars().map(|c| (format!("label{c}").into(), c.to_string().repeat(3).into())).collect()
}

fn order(terms: &[ScatterTerm], pods: &[PodFacts], extra: usize) -> Vec<usize> {
    let waiting = refs(&pods[..pods.len() - extra]);
    spread(terms, waiting, &refs(pods)).iter().map(|pod| pod.name.parse().unwrap()).collect()
}

/// Rows C-T-SCAT-R1 to R12. Rules: C-SORT-8, C-SORT-9, C-SORT-10.
#[test]
fn one_term() {
    let rows: [(&str, &[usize]); 12] = [
        ("-", &[0]),
        ("A", &[0]),
        ("A -", &[0, 1]),
        ("- - - - A A", &[4, 0, 1, 2, 3, 5]),
        ("- - - A A A", &[3, 0, 1, 4, 2, 5]),
        ("- - - A - - A", &[3, 0, 1, 2, 4, 5, 6]),
        ("- - - - - - A A A", &[6, 0, 1, 2, 7, 3, 4, 5, 8]),
        ("- - A A A A", &[2, 3, 0, 4, 1, 5]),
        ("- - - A A A", &[3, 0, 1, 4, 2, 5]),
        ("- - A - A A A A A", &[2, 4, 0, 5, 6, 1, 7, 3, 8]),
        ("- A - A - - A A A", &[1, 0, 3, 2, 6, 4, 7, 5, 8]),
        ("- - - - - - - A A AB", &[7, 0, 1, 2, 3, 8, 4, 5, 6, 9]),
    ];
    for (row, expected) in rows {
        assert_eq!(order(&terms_of("A"), &mk_row(row), 0), expected, "{row}");
    }
}

/// Rows C-T-SCAT-S1 to S21. Rule: C-SORT-7. In row S21 the hole keeps its number.
#[test]
fn several_terms() {
    let rows: [(&str, &str, usize, &[usize]); 21] = [
        ("AB", "A", 0, &[0]),
        ("- - - - - -", "", 0, &[0, 1, 2, 3, 4, 5]),
        ("- - - - A A", "A", 0, &[4, 0, 1, 2, 3, 5]),
        ("- - - - - - B A A AB", "B", 0, &[6, 0, 1, 2, 3, 4, 5, 7, 8, 9]),
        ("B B - - A A", "AB", 0, &[0, 4, 2, 3, 5, 1]),
        ("- - - B AB A", "AB", 0, &[4, 0, 1, 2, 5, 3]),
        ("- - - - - - B A A B", "BA", 0, &[7, 6, 0, 1, 2, 3, 4, 5, 9, 8]),
        ("- - - - - - B A A B", "AB", 0, &[6, 7, 0, 1, 2, 3, 4, 5, 8, 9]),
        ("- - - - - - AB - - AB", "AB", 0, &[6, 0, 1, 2, 3, 4, 5, 7, 8, 9]),
        ("- - - - - AB - - AB", "AB", 0, &[5, 0, 1, 2, 3, 4, 6, 7, 8]),
        ("- - - A - - AB - - -", "AB", 2, &[3, 0, 1, 2, 4, 5, 7, 6]),
        ("- - - A - - - - AB - - AB", "AB", 1, &[0, 1, 2, 4, 3, 5, 6, 7, 9, 10, 8]),
        ("- - - A A - AB - - AB", "AB", 0, &[6, 3, 0, 1, 4, 2, 5, 7, 8, 9]),
        ("- A A - - AB - - AB", "AB", 0, &[5, 1, 0, 3, 2, 4, 6, 7, 8]),
        ("A - - A A - AB - - AB", "AB", 2, &[1, 0, 2, 3, 5, 4, 7, 6]),
        ("- - A A - A - - AB - - AB", "AB", 1, &[0, 2, 1, 4, 3, 6, 7, 5, 9, 10, 8]),
        ("- A A B B C C C C C", "ABC", 0, &[3, 1, 5, 0, 6, 7, 8, 9, 2, 4]),
        ("- A AC BC B - - C C C", "ABC", 0, &[3, 2, 0, 7, 8, 5, 6, 9, 1, 4]),
        ("- - - - A A A", "A", 1, &[0, 1, 4, 2, 3, 5]),
        ("A A - - - - - - - A", "A", 3, &[2, 0, 3, 4, 5, 6, 1]),
        ("- A AC BC B ∅ - - C C C", "ABC", 0, &[3, 2, 0, 8, 9, 6, 7, 10, 1, 4]),
    ];
    for (row, terms, extra, expected) in rows {
        assert_eq!(order(&terms_of(terms), &mk_row(row), extra), expected, "{row} {terms} {extra}");
    }
}

/// Rows C-T-SCAT-T1 to T4. Rule: C-SORT-6.
#[test]
fn terms() {
    for (row, letters) in [("- - - - A A", "A"), ("- - x B A A", "AB")] {
        assert_eq!(with_values(&terms_of(letters), &refs(&mk_row(row))), terms_of(letters));
    }
    let values = ["value-4-0", "value-4-1", "value-4-2", "value-4", "value-4", "value-4"];
    let pods: Vec<PodFacts> = (0..100)
        .map(|index: usize| {
            let labels = values.get(index).map_or(json!({}), |value| json!({"key-4": value}));
            mk_pod(&format!("{index:03}"), &json!({"metadata": {"labels": labels}}))
        })
        .collect();
    let term = |key: &str, value: &str| (key.into(), value.into());
    let three = ["1", "2", "3"].map(|n| term(&format!("key-{n}"), &format!("value-{n}"))).to_vec();
    assert_eq!(with_values(&three, &refs(&pods)), three);
    let all = [three.clone(), vec![term("key-4", "*"), term("key-4", "*")]].concat();
    let added = values[..4].iter().map(|value| term("key-4", value)).collect();
    assert_eq!(with_values(&all, &refs(&pods)), [three, added].concat());
}

/// Rows C-T-SCAT-W1 to W4. Rule: C-SORT-6. Decision: D-31.
#[test]
fn wildcards() {
    let rows: [(&str, &[usize]); 4] = [
        ("A A A B B - - C C C C", &[3, 0, 7, 8, 9, 1, 5, 6, 10, 2, 4]),
        ("A B A B A B A B", &[1, 0, 3, 2, 5, 4, 6, 7]),
        ("A A A A A A", &[0, 1, 2, 3, 4, 5]),
        ("A A A A B B C C", &[6, 4, 0, 1, 2, 3, 5, 7]),
    ];
    for (row, expected) in rows {
        let mk = |(index, value): (usize, &str)| {
            let labels = if value == "-" { json!({}) } else { json!({"mode": value}) };
            mk_pod(&format!("{index:03}"), &json!({"metadata": {"labels": labels}}))
        };
        let pods: Vec<PodFacts> = row.split(' ').enumerate().map(mk).collect();
        assert_eq!(order(&[("mode".into(), "*".into())], &pods, 0), expected, "{row}");
    }
}
