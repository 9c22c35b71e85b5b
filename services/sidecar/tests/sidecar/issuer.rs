//! An issuer that signs by RS256 or ES256, changes its keys, and does not always answer as it should.

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::{
    keys::IssuerKey,
    platform::{OFTEN, Platform, RARELY, World, claims},
};

fn invalid() -> (u16, String) {
    (401, "token_invalid".to_owned())
}

fn nobody_knows() -> (u16, String) {
    (503, "component_down".to_owned())
}

#[tokio::test]
async fn keys_for_rs256_and_es256_open_the_api_and_change_without_a_restart() {
    for (first, second) in [
        (IssuerKey::rsa("k1"), IssuerKey::rsa("k2")),
        (IssuerKey::ec("k1"), IssuerKey::ec("k2")),
        (IssuerKey::rsa("k1"), IssuerKey::ec("k2")),
    ] {
        let platform = Platform::serve(&[first.public()]).await;
        let world = World::trusting(&platform, RARELY).await;
        platform.until_asked(1).await;
        let (status, answer) = world.ask(&first.sign(&claims())).await;
        assert_eq!((status, &answer["me"]["role"]), (200, &json!("supervisor")), "{answer}");
        // Both, as while tokens of the first are still about: the second is found by its name, long before the refresh.
        platform.publish(&[first.public(), second.public()]);
        assert_eq!(world.ask(&second.sign(&claims())).await.0, 200);
        assert_eq!(world.ask(&first.sign(&claims())).await.0, 200);
        assert_eq!(platform.asked(), 2);
    }
}

#[tokio::test]
async fn a_key_that_the_issuer_took_back_opens_nothing_after_the_next_refresh() {
    let (first, second) = (IssuerKey::rsa("k1"), IssuerKey::ec("k2"));
    let platform = Platform::serve(&[first.public()]).await;
    let world = World::trusting(&platform, OFTEN).await;
    platform.until_asked(1).await;
    assert_eq!(world.ask(&first.sign(&claims())).await.0, 200);
    platform.publish(&[second.public()]);
    // The one that is under way may have the old answer; the one after it has not, and has ended when the third begins.
    platform.until_asked(platform.asked() + 3).await;
    assert_eq!(world.refusal(&first.sign(&claims())).await, invalid());
    assert_eq!(world.ask(&second.sign(&claims())).await.0, 200);
}

#[tokio::test]
async fn tokens_by_another_algorithm_or_with_other_claims_open_nothing() {
    let (rsa, ec) = (IssuerKey::rsa("r1"), IssuerKey::ec("e1"));
    let platform = Platform::serve(&[rsa.public(), ec.public()]).await;
    let world = World::trusting(&platform, RARELY).await;
    platform.until_asked(1).await;
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let now = chrono::Utc::now().timestamp();
    for key in [&rsa, &ec] {
        assert_eq!(world.ask(&key.sign(&claims())).await.0, 200);
        for secret in key.public_texts() {
            let header =
                jsonwebtoken::Header { kid: Some(key.kid.clone()), ..jsonwebtoken::Header::new(Algorithm::HS256) };
            let secret = jsonwebtoken::EncodingKey::from_secret(&secret);
            let forged = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
            assert_eq!(world.refusal(&forged).await, invalid(), "{}", key.kid);
        }
        for (name, value) in [
            ("iss", json!("https://another.example")),
            ("aud", json!("another")),
            ("exp", json!(now - 600)),
            ("nbf", json!(now + 600)),
        ] {
            assert_eq!(world.refusal(&key.sign(&changed(name, value))).await, invalid(), "{} {name}", key.kid);
        }
        let other = world.refusal(&key.sign(&changed("workspace", json!("global")))).await;
        assert_eq!(other, (403, "wrong_workspace".to_owned()));
    }
    assert_eq!(world.refusal(&rsa.sign_as(Algorithm::PS256, &claims())).await, invalid());
    assert_eq!(platform.asked(), 1, "none of this is a reason to ask the issuer");
}

#[tokio::test]
async fn strangers_who_make_up_names_of_keys_do_not_make_the_issuer_be_asked_each_time() {
    let key = IssuerKey::ec("e1");
    let platform = Platform::serve(&[key.public()]).await;
    let world = World::trusting(&platform, RARELY).await;
    platform.until_asked(1).await;
    let made_up: Vec<String> =
        (0..200).map(|number| IssuerKey { kid: format!("x{number}"), ..clone(&key) }.sign(&claims())).collect();
    for tokens in made_up.chunks(20) {
        let asked = tokens.iter().map(|token| world.refusal(token));
        assert!(futures_util::future::join_all(asked).await.iter().all(|refused| *refused == invalid()));
    }
    // Once for whoever was first; the first fetch of all may have been under way then.
    assert!((1..=2).contains(&platform.asked()), "{}", platform.asked());
    assert_eq!(world.ask(&key.sign(&claims())).await.0, 200);
}

fn clone(key: &IssuerKey) -> IssuerKey {
    IssuerKey { kid: key.kid.clone(), algorithm: key.algorithm, private: key.private.clone(), text: key.text.clone() }
}

#[tokio::test]
async fn an_issuer_that_never_ends_its_answer_holds_nobody_up_who_needs_it_not() {
    let key = IssuerKey::ec("e1");
    let platform = Platform::serve(&[key.public()]).await;
    let world = World::trusting(&platform, OFTEN).await;
    platform.until_asked(1).await;
    let token = key.sign(&claims());
    assert_eq!(world.ask(&token).await.0, 200);
    // A space now and then; then as many as come through.
    let pieces = |every: Duration, size: usize| {
        move || {
            let body = stream::unfold((), move |()| async move {
                tokio::time::sleep(every).await;
                Some((Ok::<_, Infallible>(Bytes::from(vec![b' '; size])), ()))
            });
            Response::new(Body::from_stream(body))
        }
    };
    platform.answer(pieces(Duration::from_millis(50), 1));
    platform.until_asked(platform.asked() + 1).await;
    let unknown = IssuerKey { kid: "e2".to_owned(), ..clone(&key) }.sign(&claims());
    let waits = tokio::time::timeout(Duration::from_secs(60), world.refusal(&unknown));
    tokio::pin!(waits);
    tokio::select! {
        biased;
        _ = &mut waits => panic!("the issuer has not answered yet"),
        statuses = async { (world.ask(&token).await.0, world.ask(&world.own_token()).await.0) } => {
            assert_eq!(statuses, (200, 200));
        }
    }
    assert_eq!(waits.await.expect("it waits for ever"), nobody_knows());
    platform.answer(pieces(Duration::ZERO, 64 * 1024));
    let begun = std::time::Instant::now();
    while !world.until_degraded().await.contains("larger than") {
        assert!(begun.elapsed() < Duration::from_secs(60), "all of it is read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.ask(&token).await.0, 200, "the last set holds");
}
