//! Every path and method, with what it takes and what it answers where all is well.

use helix_schemas::topics;
use serde_json::json;
use utoipa::openapi::{
    ContentBuilder, HttpMethod, ObjectBuilder, PathItem, Paths, PathsBuilder, Ref, Required, Response, ResponseBuilder,
    Type,
    path::{Operation, OperationBuilder},
    request_body::{RequestBody, RequestBodyBuilder},
    response::ResponsesBuilder,
    security::SecurityRequirement,
};

use super::{
    bodies::{Accepted, Added, EventResult, Registered, Status},
    examples,
    refusals::Refusals,
};
use crate::{http::Door, normalise::Rejection, route};

/// Where a request's key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyIn {
    /// Header or query.
    Request,
    /// The path's last segment.
    Path,
}

/// All of them.
pub(super) fn paths() -> Paths {
    let mut paths = PathsBuilder::new();
    for door in Door::ALL {
        paths = paths.path(door.endpoint(), door_item(door, KeyIn::Request));
        paths = paths.path(format!("{}/k/{{key}}", door.endpoint()), door_item(door, KeyIn::Path));
    }
    paths
        .path("/api/supervisor/register", item([(HttpMethod::Post, register())]))
        .path(
            "/api/supervisor/register/{workspace}/agents/{agent}",
            item([(HttpMethod::Delete, release("releaseAgent", "agent", "Release an agent", "agent.leaving"))]),
        )
        .path(
            "/api/supervisor/register/{workspace}/dids/{did}",
            item([(HttpMethod::Delete, release("releaseDid", "did", "Release a DID", "918040000009"))]),
        )
        .path("/api/supervisor/heartbeat", item([(HttpMethod::Post, heartbeat())]))
        .path(
            "/api/supervisor/directory",
            item([
                (HttpMethod::Get, directory("directory", ok("What the key may see.", "Listing"))),
                (HttpMethod::Head, directory("directoryHead", bare("There is such a list."))),
            ]),
        )
        .path("/livez", item(watched("livez", "Whether the process runs", ok("It runs.", "Alive"))))
        .path("/readyz", item(readyz()))
        .path("/metrics", item(watched("metrics", "Metrics in Prometheus' text format", metrics())))
        .path(super::PATH, item(watched("openapi", "This document", own())))
        .build()
}

fn item<const N: usize>(operations: [(HttpMethod, OperationBuilder); N]) -> PathItem {
    let mut item = PathItem::default();
    for (method, operation) in operations {
        let operation: Operation = operation.parameter_ref(parameter("XRequestId")).build();
        item.merge_operations(PathItem::new(method, operation));
    }
    item
}

fn parameter(name: &str) -> Ref {
    Ref::new(format!("#/components/parameters/{name}"))
}

// Webhooks.

struct DoorWords {
    /// In operation ids.
    name: &'static str,
    tag: &'static str,
    summary: &'static str,
    about: &'static str,
}

fn words(door: Door) -> DoorWords {
    match door {
        Door::AgentEvent => DoorWords {
            name: "AgentEvent",
            tag: "events",
            summary: "Take agent events",
            about: "For the provider's `agentEventsURL`. The event's agent decides the workspace, else its DID.",
        },
        Door::CallEvent => DoorWords {
            name: "CallEvent",
            tag: "events",
            summary: "Take call events",
            about: "For the provider's `callEventsURL`. The event's agent decides the workspace, else its DID.",
        },
        Door::CallbackByHost => DoorWords {
            name: "CallbackByHost",
            tag: "callbacks",
            summary: "Take callbacks, the workspace by host",
            about: "For the provider's campaign callback, through the gateway: the workspace is that of the host name that was \
                    called, which the gateway writes to `X-Helix-Workspace` over whatever was sent.",
        },
        Door::CallbackByPath => DoorWords {
            name: "CallbackByPath",
            tag: "callbacks",
            summary: "Take callbacks, the workspace by path",
            about: "For the provider's campaign callback, without a gateway.",
        },
    }
}

fn door_item(door: Door, key_in: KeyIn) -> PathItem {
    let words = words(door);
    let suffix = match key_in {
        KeyIn::Request => "",
        KeyIn::Path => "WithKey",
    };
    let begun = |verb: &str| {
        let mut operation =
            OperationBuilder::new().tag(words.tag).operation_id(Some(format!("{verb}{}{suffix}", words.name)));
        match door {
            Door::CallbackByPath => operation = operation.parameter_ref(parameter("Workspace")),
            Door::AgentEvent | Door::CallEvent | Door::CallbackByHost => {}
        }
        match key_in {
            KeyIn::Path => operation.parameter_ref(parameter("Key")),
            KeyIn::Request => operation,
        }
    };
    let (body, refusals): (_, &[Refusals]) = match door {
        Door::AgentEvent | Door::CallEvent => ("Events", &[Refusals::Event]),
        Door::CallbackByHost | Door::CallbackByPath => ("Callbacks", &[Refusals::Event, Refusals::Callback]),
    };
    let mut take = begun("take")
        .summary(Some(words.summary))
        .description(Some(words.about))
        .responses(refusing(refusals).response("202", Ref::from_response_name("Accepted")))
        .request_body_ref(Some(Ref::new(format!("#/components/requestBodies/{body}"))));
    if door == Door::CallbackByHost {
        take = take.parameter_ref(parameter("GatewayWorkspace"));
    }
    let opens = match (key_in, door) {
        (KeyIn::Path, _) => vec![SecurityRequirement::default()],
        (KeyIn::Request, Door::AgentEvent | Door::CallEvent) => keys("AccountKey"),
        // A callback's key may be in its body, which no security scheme can say.
        (KeyIn::Request, Door::CallbackByHost | Door::CallbackByPath) => {
            let mut either = keys("WebhookKey");
            either.push(SecurityRequirement::default());
            either
        }
    };
    let probe = |verb: &str, answer: Response| {
        begun(verb)
            .summary(Some("Answer a probe"))
            .description(Some("The provider's dashboard probes a URL before it saves it. No key is looked at."))
            .securities(Some([]))
            .responses(ResponsesBuilder::new().response("200", answer))
    };
    item([
        (HttpMethod::Post, take.securities(Some(opens))),
        (HttpMethod::Get, probe("probe", ok("The URL is taken.", "Probed"))),
        (HttpMethod::Head, probe("head", bare("The URL is taken."))),
    ])
}

/// The body of the account's paths.
pub(super) fn events() -> RequestBody {
    let mut shown = examples::events();
    shown.extend(examples::batch().map(|batch| ("batch".to_owned(), batch)));
    let json = ContentBuilder::new().schema(Some(Ref::from_schema_name("Delivery"))).examples_from_iter(shown).build();
    body("One event or a batch, at most 256 KiB. Either kind is taken at either path, and in any of the shapes named above.")
        .content("application/json", json)
        .build()
}

/// The body of a workspace's paths.
pub(super) fn callbacks() -> RequestBody {
    let form = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Form")))
        .examples_from_iter(examples::callback_forms())
        .build();
    let json = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Delivery")))
        .examples_from_iter(examples::callbacks())
        .build();
    body("One callback or a batch, at most 256 KiB, as the provider's form or as JSON, and in any of the shapes named above.")
        .content("application/x-www-form-urlencoded", form)
        .content("application/json", json)
        .build()
}

fn body(about: &str) -> RequestBodyBuilder {
    RequestBodyBuilder::new().description(Some(about)).required(Some(Required::True))
}

/// The answer to every delivery that was kept.
pub(super) fn accepted() -> Response {
    let result = |status, topic: &str, reason: Option<&str>| EventResult {
        status,
        id: "0b7f7a3e-3f3e-5d0b-8f39-3d1f2f1a9c55".to_owned(),
        topic: Some(topic.to_owned()),
        partition: (status != Status::Spooled).then_some(4),
        offset: (status != Status::Spooled).then_some(1_207),
        reason: reason.map(str::to_owned),
    };
    let stored = || result(Status::Stored, topics::FACTS, None);
    let shown = [
        ("stored", "Stored", vec![stored()]),
        ("spooled", "The log is away; kept safely here", vec![result(Status::Spooled, topics::FACTS, None)]),
        ("unrouted", "Nobody's yet", vec![result(Status::Unrouted, topics::UNROUTED, Some(route::UNKNOWN))]),
        (
            "batch",
            "A batch with one bad event",
            vec![stored(), result(Status::Rejected, topics::REJECTED, Some(Rejection::AgentIdMissing.code()))],
        ),
    ];
    let shown = shown.map(|(name, summary, results)| {
        let answer = Accepted { request_id: "5f0c7d0e-6a51-4c58-9f8e-0d7c1d1f8a10".to_owned(), results };
        let value = serde_json::to_value(answer).ok();
        (name, utoipa::openapi::example::ExampleBuilder::new().summary(summary).value(value).build())
    });
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Accepted"))).examples_from_iter(shown).build();
    headed("Stored, every event: acknowledged by every in-sync replica, or fsynced to the local spool.")
        .content("application/json", content)
        .build()
}

// The directory.

fn register() -> OperationBuilder {
    let request = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Registration")))
        .example(Some(json!({"workspace": "ramaiah", "url": "http://10.0.0.7:4100", "agents": ["agent.one"], "dids": ["918041763400"]})))
        .build();
    let answer = Registered { workspace: "ramaiah".to_owned(), added: Added { agents: 1, dids: 0 } };
    let done = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Registered")))
        .example(serde_json::to_value(answer).ok())
        .build();
    of_the_directory("register", "Register agents and DIDs")
        .description(Some(
            "Adds to what the workspace has; safe to repeat. The very next event is routed by it, and `unrouted` events of these \
             agents and DIDs are redriven. 409 names what another workspace owns, and then nothing is added.",
        ))
        .securities(Some(keys("RegisterKey")))
        .request_body(Some(body("A JSON object, whatever its content type.").content("application/json", request).build()))
        .responses(
            refusing(&[Refusals::Register])
                .response("200", headed("Added.").content("application/json", done).build()),
        )
}

fn release(id: &str, parameter_name: &str, summary: &str, example: &str) -> OperationBuilder {
    let released = utoipa::openapi::path::ParameterBuilder::new()
        .name(parameter_name)
        .parameter_in(utoipa::openapi::path::ParameterIn::Path)
        .required(Required::True)
        .description(Some("Percent-encoded, `/` as `%2F`."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))))
        .example(Some(example.into()))
        .build();
    of_the_directory(id, summary)
        .description(Some(
            "So that another workspace may register it. 204 also where nobody has it: safe to repeat. What was stored stays.",
        ))
        .securities(Some(keys("RegisterKey")))
        .parameter_ref(parameter("Workspace"))
        .parameter(released)
        .responses(refusing(&[Refusals::Release]).response("204", bare("Released, or nobody's before.")))
}

fn heartbeat() -> OperationBuilder {
    let request = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Heartbeat")))
        .example(Some(json!({"workspace": "ramaiah"})))
        .build();
    of_the_directory("heartbeat", "Say that a sidecar lives")
        .description(Some(
            "Liveness is shown in the directory and decides nothing: events are stored whether or not a sidecar lives.",
        ))
        .securities(Some(keys("RegisterKey")))
        .request_body(Some(
            body("A JSON object, whatever its content type.").content("application/json", request).build(),
        ))
        .responses(refusing(&[Refusals::Heartbeat]).response("200", ok("Noted.", "Beaten")))
}

fn directory(id: &str, answer: Response) -> OperationBuilder {
    let mut either = keys("AccountKey");
    either.extend(keys("RegisterKey"));
    of_the_directory(id, "List workspaces, agents and DIDs")
        .description(Some("The account's key sees all workspaces, a sidecar's key its own."))
        .securities(Some(either))
        .responses(refusing(&[Refusals::Listing]).response("200", answer))
}

fn of_the_directory(id: &str, summary: &str) -> OperationBuilder {
    OperationBuilder::new().tag("directory").operation_id(Some(id)).summary(Some(summary))
}

// Operation.

/// GET and HEAD of a path that needs no key.
fn watched(id: &str, summary: &str, answer: Response) -> [(HttpMethod, OperationBuilder); 2] {
    let begun = |id: String, answer: Response| {
        OperationBuilder::new()
            .tag("operation")
            .operation_id(Some(id))
            .summary(Some(summary))
            .securities(Some([]))
            .responses(ResponsesBuilder::new().response("200", answer))
    };
    let head = bare(&answer.description);
    [(HttpMethod::Get, begun(id.to_owned(), answer)), (HttpMethod::Head, begun(format!("{id}Head"), head))]
}

fn readyz() -> [(HttpMethod, OperationBuilder); 2] {
    let away = "Not ready, or going away.";
    let [(get, getting), (head, heading)] = watched("readyz", "Whether to send requests here", ok("Ready.", "Ready"));
    [(get, getting.response("503", ok(away, "Ready"))), (head, heading.response("503", bare(away)))]
}

fn metrics() -> Response {
    let text = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build();
    headed("All metrics of this process.").content("text/plain", text).build()
}

fn own() -> Response {
    let object = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::Object))).build();
    headed("OpenAPI 3.1.").content("application/json", object).build()
}

// What they share.

fn keys(name: &str) -> Vec<SecurityRequirement> {
    let none: [&str; 0] = [];
    [name.to_owned(), format!("{name}InQuery")].map(|scheme| SecurityRequirement::new(scheme, none)).into()
}

fn refusing(refusals: &[Refusals]) -> ResponsesBuilder {
    ResponsesBuilder::new().responses_from_iter(refusals.iter().flat_map(|refusals| refusals.references()))
}

fn headed(about: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(about).header_ref("X-Request-Id", super::header("XRequestId"))
}

fn bare(about: &str) -> Response {
    headed(about).build()
}

fn ok(about: &str, schema: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    headed(about).content("application/json", content).build()
}
