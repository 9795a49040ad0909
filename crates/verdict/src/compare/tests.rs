use model::Share;
use serde_json::{Value, json};

use super::*;

fn rule() -> Compare {
    Compare {
        headers: vec!["content-type".to_owned()],
        ignore: Vec::new(),
        samples: 100,
        at_most: Share::try_new(100).unwrap(),
    }
}

fn answer(status: u16, body: Value) -> Reply {
    Reply::Answer(Answer {
        status,
        headers: vec![Some(b"application/json".to_vec())],
        body: Body::Json(body),
    })
}

fn ok(body: Value) -> Reply {
    answer(200, body)
}

fn opaque(digest: u64) -> Reply {
    Reply::Answer(Answer {
        status: 200,
        headers: vec![None],
        body: Body::Opaque { bytes: 10, digest },
    })
}

/// The fields in which the new answer differs, with their examples.
fn fields(first: &Reply, second: &Reply, new: &Reply) -> Vec<String> {
    let found = compare(&rule(), [first, second], new).unwrap();
    let all = found.differences.iter();
    all.map(|(field, (kind, example))| {
        format!("{field} {kind}: {} -> {}", example.old, example.new)
    })
    .collect()
}

#[test]
fn a_changed_field_is_found_by_its_path_without_its_content() {
    let old = ok(json!({"items": [{"id": 7, "price": 10, "name": "secret"}]}));
    let new = ok(json!({"items": [{"id": 7, "price": "10", "name": "secret!"}]}));
    assert_eq!(
        fields(&old, &old, &new),
        [
            "body.items[].name value: string(6) -> string(7)",
            "body.items[].price shape: number -> string(2)",
        ]
    );
}

#[test]
fn what_is_missing_or_too_much_is_a_difference_of_shape() {
    let old = ok(json!({"a": 1, "b": [1, 2], "11": null}));
    let new = ok(json!({"b": [1], "c": true, "11": null}));
    assert_eq!(
        fields(&old, &old, &new),
        [
            "body.a shape: number -> missing",
            "body.b value: array(2) -> array(1)",
            "body.c shape: missing -> boolean",
        ]
    );
}

#[test]
fn a_field_that_differs_between_the_old_answers_is_noise() {
    let old = |id: u32| ok(json!({"id": id, "total": 5}));
    assert!(fields(&old(1), &old(2), &old(3)).is_empty());
    let new = ok(json!({"id": 3, "total": 6}));
    assert_eq!(
        fields(&old(1), &old(2), &new),
        ["body.total value: number -> number"]
    );
}

#[test]
fn a_varying_value_does_not_hide_that_the_field_is_gone() {
    let old = |id: u32| ok(json!({"id": id}));
    assert_eq!(
        fields(&old(1), &old(2), &ok(json!({}))),
        ["body.id shape: number -> missing"]
    );
}

#[test]
fn a_field_that_comes_and_goes_hides_what_is_in_it() {
    let with = ok(json!({"debug": {"ms": 3}}));
    let without = ok(json!({}));
    let other = ok(json!({"debug": {"ms": "3"}}));
    assert!(fields(&with, &without, &other).is_empty());
}

#[test]
fn the_new_answer_must_differ_from_both_old_ones() {
    let (one, two) = (ok(json!({"n": 1})), ok(json!({"n": 2})));
    assert!(fields(&one, &two, &one).is_empty());
    assert!(fields(&one, &two, &two).is_empty());
}

#[test]
fn another_status_is_one_difference_whatever_the_body_says() {
    let old = ok(json!({"a": 1}));
    let new = answer(500, json!({"error": "x"}));
    assert_eq!(fields(&old, &old, &new), ["status value: 200 -> 500"]);
    // An old release that cannot decide proves nothing.
    assert!(fields(&old, &new, &ok(json!({"a": 2}))).is_empty());
}

#[test]
fn no_answer_of_the_new_release_differs_and_none_of_the_old_says_nothing() {
    let old = ok(json!({}));
    let none = Reply::Nothing("timeout");
    assert_eq!(
        fields(&old, &old, &none),
        ["answer shape: whole -> timeout"]
    );
    assert_eq!(compare(&rule(), [&none, &old], &old), None);
    assert_eq!(compare(&rule(), [&old, &none], &old), None);
}

#[test]
fn bodies_that_are_no_json_are_compared_as_a_whole() {
    assert!(fields(&opaque(1), &opaque(1), &opaque(1)).is_empty());
    assert!(fields(&opaque(1), &opaque(2), &opaque(3)).is_empty());
    assert_eq!(
        fields(&opaque(1), &opaque(1), &opaque(3)),
        ["body value: 10 bytes -> 10 bytes"]
    );
}

#[test]
fn named_headers_are_compared() {
    let mut new = opaque(1);
    if let Reply::Answer(answer) = &mut new {
        answer.headers = vec![Some(b"text/html".to_vec())];
    }
    assert_eq!(
        fields(&opaque(1), &opaque(1), &new),
        ["header content-type shape: missing -> string(9)"]
    );
}

#[test]
fn one_and_one_point_nought_are_the_same_number() {
    assert!(fields(&ok(json!(1)), &ok(json!(1)), &ok(json!(1.0))).is_empty());
}

#[test]
fn ignored_fields_are_ignored_with_all_within() {
    let mut rule = rule();
    rule.ignore = vec!["body.items[].tax".to_owned()];
    let old = ok(json!({"items": [{"tax": {"rate": 1}, "taxed": 1}]}));
    let new = ok(json!({"items": [{"tax": {"rate": 2}, "taxed": 2}]}));
    let found = compare(&rule, [&old, &old], &new).unwrap();
    let names: Vec<_> = found.differences.keys().collect();
    assert_eq!(names, ["body.items[].taxed"]);
}

#[test]
fn routes_and_fields_carry_no_ids() {
    for (path, shown) in [
        ("/items/17", "GET /items/{}"),
        ("/", "GET /"),
        (
            "/v2/users/0b7c1f2e-9a0d-4a8b-8f7c-1234567890ab/",
            "GET /v2/users/{}/",
        ),
        ("/u/a%40b.example", "GET /u/{}"),
        ("/t/deadbeefdeadbeefcafe", "GET /t/{}"),
        (
            "/a/b/c/d/e/f/g/h/i/j/k/l/m/n",
            "GET /a/b/c/d/e/f/g/h/i/j/k/l/…",
        ),
    ] {
        assert_eq!(route("GET", path.as_bytes()), shown);
    }
    let old = ok(json!({"by_user": {"ann@example.org": 1, "12": 1}}));
    let new = ok(json!({"by_user": {"ann@example.org": 2, "12": 2}}));
    assert_eq!(
        fields(&old, &old, &new),
        ["body.by_user.{} value: number -> number"]
    );
}

/// A number from 0 to `below`, the same for the same place in the sequence.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 33) % below
}

fn tally(samples: u32, mut sample: impl FnMut() -> [Reply; 3]) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..samples {
        let [first, second, new] = sample();
        let found = compare(&rule(), [&first, &second], &new);
        tally.add("GET /", found.as_ref());
    }
    tally
}

#[test]
fn a_field_of_few_random_values_is_noise_although_it_often_looks_like_a_difference() {
    let mut state = 1;
    let mut coin = || ok(json!({"coin": draw(&mut state, 2)}));
    let tally = tally(400, || [coin(), coin(), coin()]);
    let report = tally.report(1);
    assert_eq!((report.compared, report.differing), (400, 0));
    assert_eq!((report.differences.len(), report.noisy), (0, 1));
    assert_eq!(judge_compared(&rule(), &tally.figures()), Verdict::Pass);
}

#[test]
fn a_real_difference_is_counted_beside_noise() {
    let mut state = 1;
    let mut with = |total: u32| ok(json!({"coin": draw(&mut state, 2), "total": total}));
    let tally = tally(400, || [with(1), with(1), with(2)]);
    let report = tally.report(2);
    assert_eq!((report.compared, report.differing), (400, 400));
    assert_eq!(report.differences[0].field, "body.total");
    let verdict = judge_compared(&rule(), &tally.figures());
    assert_eq!(
        verdict,
        Verdict::Fail {
            reasons: vec![
                "400 of 400 compared requests differ, more than 1.00%: 400 of 400 of GET / in \
                 body.total (number instead of number)"
                    .to_owned()
            ]
        }
    );
}

#[test]
fn it_fails_as_soon_as_too_many_of_the_samples_wanted_differ() {
    let one = || [ok(json!(1)), ok(json!(1)), ok(json!(2))];
    let same = || [ok(json!(1)), ok(json!(1)), ok(json!(1))];
    // Of 100 samples 1 may differ.
    let verdict = |tally: &Tally| judge_compared(&rule(), &tally.figures());
    let mut found = tally(1, one);
    assert_eq!(
        verdict(&found),
        Verdict::Inconclusive {
            requests: 1,
            min_requests: 100
        }
    );
    found.merge(&tally(98, same));
    assert!(matches!(verdict(&found), Verdict::Inconclusive { .. }));
    found.merge(&tally(1, same));
    assert_eq!(verdict(&found), Verdict::Pass);
    let two = tally(2, one);
    assert!(matches!(verdict(&two), Verdict::Fail { .. }));
    // Two of two hundred are one per cent again.
    let mut many = two;
    many.merge(&tally(198, same));
    assert_eq!(verdict(&many), Verdict::Pass);
}

#[test]
fn what_is_told_apart_is_bounded_and_still_counted() {
    let mut all = Tally::default();
    for number in 0..300 {
        let name = |at: u32| {
            let letter = |n: u32| char::from(b'a' + u8::try_from(n % 26).unwrap());
            format!("{}{}{}", letter(at), letter(at / 26), letter(at / 676))
        };
        let mut old = serde_json::Map::new();
        for at in 0..20 {
            old.insert(name(number * 20 + at), json!(1));
        }
        let new = ok(json!({}));
        let old = ok(Value::Object(old));
        let found = compare(&rule(), [&old, &old], &new);
        all.add(&format!("GET /{}", name(number)), found.as_ref());
    }
    let report = all.report(1);
    assert_eq!((report.compared, report.differing), (300, 300));
    assert_eq!(report.differences.len(), 50);
    assert!(report.unlisted > 0);
    let text = serde_json::to_string(&all).unwrap();
    assert!(text.len() < 256 * 1024, "{} bytes", text.len());
    let read: Tally = serde_json::from_str(&text).unwrap();
    assert_eq!(read, all);
}
