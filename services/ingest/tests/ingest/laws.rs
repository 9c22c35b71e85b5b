//! Laws over any input.

use helix_ingest::{
    body,
    redact::{Found, Redactor, api_keys, occurs},
    value::{self, Json},
};
use proptest::prelude::*;

use super::support::{ACCOUNT_KEY, SAMPLE_KEY, context, samples, understood};

fn string(text: &str) -> String {
    Json::Text(text.to_owned()).canonical(|_| false)
}

fn percent(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Every character as `\uXXXX`, inside quotes.
fn unicode_escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

/// The ways a JSON text is wrapped on its way here.
pub fn wrappings(json: &str) -> Vec<String> {
    vec![
        json.to_owned(),
        format!("\u{FEFF}\n{json}\r\n"),
        format!("[{json}]"),
        string(json),
        string(&string(json)),
        unicode_escaped(json),
        format!("data={}", percent(json)),
        format!("data={}", percent(&string(json))),
        format!("data={}", percent(&string(&string(json)))),
        format!("data={}", percent(&format!("[{json}]"))),
        format!("data={}", percent(&percent(json))),
        format!("x=1&data={}&y=", percent(json)),
        format!("{{\"data\":{}}}", string(json)),
        format!("{{\"data\":[{json}]}}"),
    ]
}

/// JSON of the samples' keys and of anything.
fn any_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        "[0-9]{1,18}".prop_map(|digits| format!("1{digits}")),
        ".{0,12}".prop_map(|text| string(&text)),
        "(None|0|a -> b|2026-03-24 14:39:52|00:01:0[0-9]|Answered|call|agent|login)".prop_map(|text| string(&text)),
    ];
    let key = prop_oneof![
        "(eventType|data|action|agentId|monitorUCID|ucid|event_time|eventTime|username|Status|StartTime|EndTime|AgentID|Apikey|Duration)",
        ".{0,6}",
    ];
    scalar.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("{}:{value}", string(key))).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// A secret as an account might have.
fn any_secret() -> impl Strategy<Value = String> {
    prop_oneof!["KK[0-9a-f]{16,40}", "[A-Za-z0-9%+/=_.-]{12,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_global_rejects: 65_536, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _outcome = understood(&bytes, &context(None));
        let _clean = Redactor::new([ACCOUNT_KEY]).redact(&bytes, &Found::default());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\":,\\\\a-z0-9=&%+ ]{0,200}") {
        let _outcome = understood(text.as_bytes(), &context(None));
        let _clean = Redactor::new([ACCOUNT_KEY]).text(&text);
    }

    #[test]
    fn any_json_is_understood_alike_in_every_wrapping(json in any_json().prop_filter("one event", |json| json.starts_with('{'))) {
        let context = context(None);
        let plain = understood(json.as_bytes(), &context);
        // What stands alone in `data` is unwrapped: another event than its wrapping.
        prop_assume!(!matches!(value::parse(&json).unwrap().value, Json::Object(members)
            if members.is_empty() || members.keys().any(|key| value::same_key(key, "data"))));
        for wrapped in wrappings(&json) {
            let other = understood(wrapped.as_bytes(), &context);
            match (&plain, &other) {
                (Ok(plain), Ok(other)) => {
                    prop_assert_eq!(plain.len(), other.len());
                    for pair in plain.iter().zip(other) {
                        match pair {
                            (Ok(one), Ok(two)) => prop_assert!(one == two, "{}", wrapped),
                            (Err(one), Err(two)) => prop_assert_eq!(one, two),
                            (Ok(_) | Err(_), _) => prop_assert!(false, "{}", wrapped),
                        }
                    }
                }
                (Err(_), _) | (_, Err(_)) => prop_assert!(false, "{}", wrapped),
            }
        }
    }

    #[test]
    fn canonical_text_is_a_fixed_point(json in any_json()) {
        let once = value::parse(&json).unwrap().value.canonical(|_| false);
        prop_assert_eq!(&value::parse(&once).unwrap().value.canonical(|_| false), &once);
    }

    #[test]
    fn no_secret_survives_in_any_wrapping(secret in any_secret(), key in "(Apikey|apikey|API_KEY|api-key|ApiKey)", before in ".{0,20}", cut in 0_usize..40) {
        let redactor = Redactor::new([ACCOUNT_KEY]);
        let json = format!(
            "{{\"Comments\":{},{}:{},\"again\":{},\"account\":\"{ACCOUNT_KEY}\"}}",
            string(&before), string(&key), string(&secret), string(&format!("it is {secret}!"))
        );
        for wrapped in wrappings(&json).into_iter().chain([format!("{key}={}&a={ACCOUNT_KEY}", percent(&secret))]) {
            // Readable: the reader tells the redactor what stood under the key.
            let mut values = Vec::new();
            match body::read(wrapped.as_bytes()).unwrap() {
                body::Delivery::One(value) => values.push(value),
                body::Delivery::Batch(elements) => values.extend(elements.into_iter().map(|element| element.value)),
            }
            let found = redactor.found(values.iter().flat_map(api_keys));
            let clean = redactor.redact(wrapped.as_bytes(), &found).bytes.into_owned();
            prop_assert!(!occurs(&secret, &clean), "{}", wrapped);
            prop_assert!(!occurs(ACCOUNT_KEY, &clean), "{}", wrapped);
            // And what is left reads as before.
            prop_assert!(body::read(&clean).is_ok(), "{}", String::from_utf8_lossy(&clean));
            // Unreadable: broken off, the value after the key goes all the same.
            let once = json.replace(&format!("it is {secret}!"), "");
            let broken = &once[..once.len() - 1 - (cut % 8)];
            let clean = redactor.redact(broken.as_bytes(), &Found::default()).bytes.into_owned();
            prop_assert!(!occurs(&secret, &clean), "{}", broken);
        }
    }
}

#[test]
fn every_sample_is_the_same_fact_in_every_wrapping() {
    for sample in samples() {
        let context = context(sample.path.as_deref());
        let Ok(body::Delivery::One(value)) = body::read(sample.body.as_bytes()) else {
            continue;
        };
        let json = value.canonical(|_| false);
        let Ok(plain) = understood(sample.body.as_bytes(), &context).unwrap().remove(0) else {
            continue;
        };
        for wrapped in wrappings(&json) {
            let events = understood(wrapped.as_bytes(), &context).unwrap();
            assert!(events.len() == 1 && events[0].as_ref().is_ok_and(|event| *event == plain), "{}", sample.id);
        }
    }
}

#[test]
fn no_sample_keeps_its_key() {
    let redactor = Redactor::new([]);
    for sample in samples() {
        let clean = redactor.redact(sample.body.as_bytes(), &Found::default()).bytes.into_owned();
        assert!(!occurs(SAMPLE_KEY, &clean), "{}", sample.id);
        if !occurs(SAMPLE_KEY, sample.body.as_bytes()) {
            assert_eq!(clean, sample.body.as_bytes(), "{}", sample.id);
        }
    }
}
