//! Tables of values, expectations and the lines they give.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn check(expect: &ValueExpect, value: Option<&Value>) -> Vec<String> {
    check_value(expect, "$.x", value, &Redactor::default())
}

fn equals(json: &str) -> ValueExpect {
    ValueExpect { equals: Some(json.to_owned()), ..ValueExpect::default() }
}

#[test]
fn equality_names_the_first_difference_and_its_place() {
    let table = [
        (json!("bob"), r#""ada""#, Some(r#"$.x is "bob", expected "ada""#)),
        (json!("ada"), r#""ada""#, None),
        (json!(1), "1.0", None),
        (json!(9_007_199_254_740_993_u64), "9007199254740993", None),
        (
            json!(9_007_199_254_740_993_u64),
            "9007199254740992",
            Some("$.x is 9007199254740993, expected 9007199254740992"),
        ),
        (json!("1"), "1", Some(r#"$.x is "1", expected 1"#)),
        (json!(null), "null", None),
        (json!(true), "false", Some("$.x is true, expected false")),
        (json!([1, 2]), "[1, 2.0]", None),
        (json!([1, 2]), "[1]", Some("$.x has 2 elements, expected 1: [1,2]")),
        (json!([1, { "a": "b" }]), r#"[1, {"a": "c"}]"#, Some(r#"$.x[1].a is "b", expected "c""#)),
        (json!({ "a": 1, "b": 2 }), r#"{"b": 2, "a": 1}"#, None),
        (json!({ "a": 1 }), r#"{"a": 1, "b c": 2}"#, Some(r#"$.x["b c"] is missing, expected 2"#)),
        (json!({ "a": 1, "b": [] }), r#"{"a": 1}"#, Some("$.x.b is [], expected none")),
        (
            json!({}),
            "{",
            Some("$.x cannot be checked: expected no JSON (EOF while parsing an object at line 1 column 1)"),
        ),
    ];
    for (value, wanted, line) in table {
        let lines: Vec<_> = line.map(str::to_owned).into_iter().collect();
        assert_eq!(check(&equals(wanted), Some(&value)), lines, "{value} against {wanted}");
    }
}

#[test]
fn existence_is_about_being_there_not_about_null() {
    let exists = |exists| ValueExpect { exists: Some(exists), ..ValueExpect::default() };
    assert_eq!(check(&exists(true), Some(&Value::Null)), Vec::<String>::new());
    assert_eq!(check(&exists(true), None), ["$.x is missing"]);
    assert_eq!(check(&exists(false), None), Vec::<String>::new());
    assert_eq!(check(&exists(false), Some(&json!("boom"))), [r#"$.x is "boom", expected none"#]);
    assert_eq!(check(&ValueExpect::default(), None), Vec::<String>::new());
}

#[test]
fn what_is_missing_meets_nothing() {
    let expect = ValueExpect {
        exists: Some(true),
        equals: Some("5".to_owned()),
        contains: Some("a".to_owned()),
        matches: Some("b+".to_owned()),
        length: Some(3),
        at_least: Some("1".to_owned()),
        at_most: Some("9".to_owned()),
    };
    let wanted = ["5", "it to contain \"a\"", "a match of /b+/", "a length of 3", "at least 1", "at most 9"];
    assert_eq!(check(&expect, None), wanted.map(|wanted| format!("$.x is missing, expected {wanted}")));
}

#[test]
fn parts_are_looked_for_in_texts_and_lists() {
    let table = [
        (json!("abc"), "b", None),
        (json!("abc"), "d", Some(r#"$.x is "abc", expected it to contain "d""#)),
        (json!(["abc", 2]), "abc", None),
        (json!(["abc", 2]), "2.0", None),
        (json!(["abc", 2]), "b", Some(r#"$.x is ["abc",2], expected it to contain "b""#)),
        (json!({ "a": 1 }), r#""a":1"#, None),
        (json!(null), "x", Some(r#"$.x is null, expected it to contain "x""#)),
    ];
    for (value, part, line) in table {
        let expect = ValueExpect { contains: Some(part.to_owned()), ..ValueExpect::default() };
        let lines: Vec<_> = line.map(str::to_owned).into_iter().collect();
        assert_eq!(check(&expect, Some(&value)), lines, "{value} with {part}");
    }
}

#[test]
fn lengths_are_of_texts_lists_and_objects() {
    let table = [
        (json!("äöü"), None),
        (json!("abcd"), Some(r#"$.x has 4 characters, expected 3: "abcd""#)),
        (json!([1, 2]), Some("$.x has 2 elements, expected 3: [1,2]")),
        (json!({}), Some("$.x has 0 fields, expected 3: {}")),
        (json!(5), Some("$.x is 5, which has no length, expected 3")),
    ];
    for (value, line) in table {
        let expect = ValueExpect { length: Some(3), ..ValueExpect::default() };
        let lines: Vec<_> = line.map(str::to_owned).into_iter().collect();
        assert_eq!(check(&expect, Some(&value)), lines, "{value}");
    }
}

#[test]
fn bounds_are_inclusive_and_exact() {
    let bounds = |at_least: &str, at_most: &str| ValueExpect {
        at_least: Some(at_least.to_owned()),
        at_most: Some(at_most.to_owned()),
        ..ValueExpect::default()
    };
    let none = Vec::<String>::new();
    assert_eq!(check(&bounds("1", "2.5"), Some(&json!(2.5))), none);
    assert_eq!(check(&bounds("1.0", "2"), Some(&json!(1))), none);
    assert_eq!(check(&bounds("1", "2"), Some(&json!(3))), ["$.x is 3, expected at most 2"]);
    let beyond = bounds("9007199254740993", "9007199254740993");
    assert_eq!(check(&beyond, Some(&json!(9_007_199_254_740_993_u64))), none);
    let line = "$.x is 9007199254740992, expected at least 9007199254740993";
    assert_eq!(check(&beyond, Some(&json!(9_007_199_254_740_992_u64))), [line]);
    let lines = [r#"$.x is "2", expected a number of at least 1"#, r#"$.x is "2", expected a number of at most 3"#];
    assert_eq!(check(&bounds("1", "3"), Some(&json!("2"))), lines);
    let lines = check(&bounds("one", "3"), Some(&json!(2)));
    assert_eq!(lines, ["$.x cannot be checked: the bound one is not a number"]);
}

#[test]
fn regular_expressions_see_texts_as_they_are_and_the_rest_as_json() {
    let expect = ValueExpect { matches: Some("^[a-z]+$".to_owned()), ..ValueExpect::default() };
    assert_eq!(check(&expect, Some(&json!("abc"))), Vec::<String>::new());
    assert_eq!(check(&expect, Some(&json!("Abc"))), [r#"$.x is "Abc", expected a match of /^[a-z]+$/"#]);
    assert_eq!(check(&expect, Some(&json!(["a"]))), [r#"$.x is ["a"], expected a match of /^[a-z]+$/"#]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Short decimals: serde_json reads the longest ones with an error in the last bit.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c ]{0,2}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_equals_its_own_text_and_equality_has_no_direction(a in any_json(), b in any_json()) {
        prop_assert_eq!(check(&equals(&a.to_string()), Some(&a)), Vec::<String>::new());
        let (there, back) = (check(&equals(&b.to_string()), Some(&a)), check(&equals(&a.to_string()), Some(&b)));
        prop_assert_eq!(there.len(), back.len());
        prop_assert!(there.is_empty() || a != b);
        prop_assert!(there.iter().all(|line| line.starts_with("$.x")));
    }
}
