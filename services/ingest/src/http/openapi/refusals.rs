//! Error responses, made of the very problems that the handlers answer: their codes, statuses, titles and headers.
//!
//! Each group is what one kind of route may answer. A status becomes a component response `<group><status>` that lists
//! its codes and shows each one's body. Which group a code is in is written here; that no code is missing, a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use helix_kit::problem::Problem;
use helix_schemas::{id::FactId, topics};
use serde_json::Value;
use utoipa::openapi::{
    AllOfBuilder, ContentBuilder, ObjectBuilder, Ref, Response, ResponseBuilder, Type, example::ExampleBuilder,
};

use crate::{body::Unreadable, http::problems, normalise::Rejection, publish::PublishError, registrar::RegistrarError};

/// In every example.
const REQUEST_ID: &str = "5f0c7d0e-6a51-4c58-9f8e-0d7c1d1f8a10";
/// `ingest.body_limit`, unless it is configured otherwise.
const BODY_LIMIT: usize = 256 * 1024;

/// What one kind of route may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusals {
    /// A delivery.
    Event,
    /// Besides, a delivery to a path of callbacks.
    Callback,
    /// A registration.
    Register,
    /// The release of an agent or DID.
    Release,
    /// A heartbeat.
    Heartbeat,
    /// The listing of the directory.
    Listing,
    /// Any path and method that is none.
    Nowhere,
}

impl Refusals {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Event, Self::Callback, Self::Register, Self::Release, Self::Heartbeat, Self::Listing, Self::Nowhere];

    const fn name(self) -> &'static str {
        match self {
            Self::Event => "Event",
            Self::Callback => "Callback",
            Self::Register => "Register",
            Self::Release => "Release",
            Self::Heartbeat => "Heartbeat",
            Self::Listing => "Listing",
            Self::Nowhere => "Nowhere",
        }
    }

    fn problems(self) -> Vec<Problem> {
        match self {
            Self::Event => delivery(),
            Self::Callback => vec![kept(problems::unknown_workspace())],
            Self::Register => {
                let mut all = with_body();
                all.extend(changing_the_directory());
                all
            }
            Self::Release => {
                let mut all = vec![problems::request_invalid("the path is not UTF-8"), problems::unauthorised()];
                all.extend(changing_the_directory());
                all.push(problems::deadline_exceeded());
                all
            }
            Self::Heartbeat => {
                let mut all = with_body();
                all.extend([problems::not_registered(), problems::unknown_workspace(), down()]);
                all
            }
            Self::Listing => vec![problems::unauthorised(), down(), problems::deadline_exceeded()],
            Self::Nowhere => vec![Problem::no_such_path(), Problem::no_such_method()],
        }
    }

    fn by_status(self) -> BTreeMap<u16, Vec<Problem>> {
        let mut all: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
        for problem in self.problems() {
            all.entry(problem.status.as_u16()).or_default().push(problem);
        }
        all
    }

    /// The responses, under their names in `components`.
    pub(super) fn components(self) -> impl Iterator<Item = (String, Response)> {
        self.by_status().into_iter().map(move |(status, problems)| (component(self, status), response(&problems)))
    }

    /// The responses of an operation, by status.
    pub(super) fn references(self) -> impl Iterator<Item = (String, Ref)> {
        let statuses = self.by_status().into_keys();
        statuses.map(move |status| (status.to_string(), Ref::from_response_name(component(self, status))))
    }
}

fn component(group: Refusals, status: u16) -> String {
    format!("{}{status}", group.name())
}

/// Why a delivery may be refused, whoever sends it.
fn delivery() -> Vec<Problem> {
    let rejections = [
        Rejection::AgentIdMissing,
        Rejection::AgentIdInvalid,
        Rejection::CallIdMissing,
        Rejection::CallIdInvalid,
        Rejection::ChainTooLong,
    ];
    let mut all: Vec<Problem> = rejections.into_iter().map(|why| kept(problems::rejected(why))).collect();
    all.extend([
        kept(problems::body_unreadable(Unreadable::BrokenJson { at: 17 })),
        problems::body_incomplete(),
        kept(problems::fact_not_writable()),
        kept(problems::unauthorised()),
        kept(problems::source_not_allowed()),
        problems::body_too_large(BODY_LIMIT),
        problems::rate_limited(Duration::from_secs(1)),
        down(),
        problems::deadline_exceeded(),
    ]);
    all.extend(log());
    all
}

/// Why a request with a JSON body may be refused, beyond what it asks.
fn with_body() -> Vec<Problem> {
    vec![
        problems::request_invalid("agents is not an array"),
        problems::body_incomplete(),
        problems::unauthorised(),
        problems::body_too_large(BODY_LIMIT),
        problems::deadline_exceeded(),
    ]
}

fn changing_the_directory() -> Vec<Problem> {
    let (agents, dids) = (vec!["agent.one".to_owned()], vec!["918041763400".to_owned()]);
    let mut all = vec![
        problems::unknown_workspace(),
        problems::registrar(&RegistrarError::Conflict { agents, dids }),
        problems::fact_not_writable(),
        down(),
    ];
    all.extend(log());
    all
}

fn down() -> Problem {
    Problem::component_down("the directory")
}

fn log() -> [Problem; 2] {
    [problems::publish(&PublishError::Backpressure), problems::publish(&PublishError::Ended { topic: topics::FACTS })]
}

/// As answered where the bytes were kept.
fn kept(problem: Problem) -> Problem {
    problems::kept(problem, REQUEST_ID.parse().ok().map(FactId::from_uuid))
}

fn response(problems: &[Problem]) -> Response {
    let codes: BTreeSet<&str> = problems.iter().map(|problem| problem.code).collect();
    let statuses: BTreeSet<u16> = problems.iter().map(|problem| problem.status.as_u16()).collect();
    let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.iter().copied()));
    let number = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(statuses));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(ObjectBuilder::new().property("code", text).property("status", number));
    let examples = problems.iter().map(|problem| {
        let body: Value = problem.body(REQUEST_ID);
        (problem.code, ExampleBuilder::new().summary(problem.title).value(Some(body)).build())
    });
    let mut response = ResponseBuilder::new()
        .description(described(&codes))
        .header_ref("X-Request-Id", super::header("XRequestId"))
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build(),
        );
    for problem in problems {
        if problem.retry_after.is_some() {
            response = response.header_ref("Retry-After", super::header("RetryAfter"));
        }
        if problem.status == axum::http::StatusCode::UNAUTHORIZED {
            response = response.header_ref("WWW-Authenticate", super::header("WwwAuthenticate"));
        }
        if problem.status == axum::http::StatusCode::METHOD_NOT_ALLOWED {
            response = response.header_ref("Allow", super::header("Allow"));
        }
    }
    response.build()
}

fn described(codes: &BTreeSet<&str>) -> String {
    codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ")
}
