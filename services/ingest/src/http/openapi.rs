//! What ingest tells its integrators: OpenAPI 3.1 of every route, made of the code it describes.
//!
//! Paths come from [`Door`](super::Door), errors from the constructors in [`problems`](super::problems), reasons from
//! the enums that give them, examples from the provider's samples in tests/corpus. What no type holds (words, which
//! route answers which problem) is written here and held to the truth by tests: tests/ingest/openapi.rs compares
//! paths, methods, codes, answers and the committed docs/openapi/ingest.json, and tests/e2e/openapi.rs lets
//! schemathesis try the document on a running ingest. Decides nothing about any request.

pub mod bodies;
mod examples;
mod operations;
mod refusals;

use std::sync::LazyLock;

use axum::Json;
use utoipa::{
    ToSchema,
    openapi::{
        ComponentsBuilder, Header, InfoBuilder, KnownFormat, LicenseBuilder, ObjectBuilder, OpenApi, OpenApiBuilder,
        Ref, RefOr, Required, Schema, SchemaFormat, ServerBuilder, Type,
        extensions::Extensions,
        header::HeaderBuilder,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Components,
        security::{ApiKey, ApiKeyValue, SecurityScheme},
        tag::TagBuilder,
    },
};

use self::refusals::Refusals;

/// Where the document is served.
pub const PATH: &str = "/openapi.json";

/// What kit takes as a request's id.
const REQUEST_ID_PATTERN: &str = "^[A-Za-z0-9_.:-]{1,128}$";
/// A workspace's slug.
const SLUG_PATTERN: &str = "^[a-z0-9-]{1,63}$";

/// What an integrator reads first.
const ABOUT: &str = "\
Takes a telephony provider's webhooks and appends each event to the log as a fact.

**2xx means stored.** A 202 is sent only after every in-sync replica has acknowledged the event, or the local spool has \
fsynced it. After a 429, a 503 or no answer, send the same bytes again, at any time and as often as needed: an event \
is known by what it says, so a repeat is recognised and nothing is counted twice.

**A body is read by what it is**, not by its `Content-Type`: a JSON object, an array of events, a JSON string that holds \
either, a form with a field `data` that holds either, or a flat form. Keys are read in any letter case, with or without \
`_`. Unknown members are kept. Ids and phone numbers may be strings or numbers of any length; no digit is lost.

**Nothing is dropped.** An event that names no known agent or DID is stored as `unrouted` and finds its workspace when the \
directory learns it. What cannot be read is answered 400 and its bytes are kept under `rejectedId`. In a batch one bad \
event is `rejected` and the rest is stored.

**Keys.** Each operation names the secret it wants. It may be sent as header `X-Helix-Key`, as query parameter `key`, or, \
on the webhook paths, as the last path segment `/k/{key}` for senders that can only be given a URL. A callback may \
carry the account's `Apikey` in its body instead; in a batch every event must.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`, described in docs/errors, one page a code. A path \
that is not here is answered 404 `no_such_path`, a method that is not here 405 `no_such_method` with `Allow`.

**Request ids.** Send `X-Request-Id` (1 to 128 of `A-Z a-z 0-9 - _ . :`) to find a request in our logs; otherwise one is made. Every \
answer returns it.";

/// The three secrets, each by header and by query.
const KEYS: [(&str, &str); 3] = [
    ("AccountKey", "The secret of the account's webhooks (`HELIX_INGEST_KEY` locally)."),
    ("WebhookKey", "The secret of one workspace's callbacks (`HELIX_WEBHOOK_KEY_<WORKSPACE>` locally)."),
    ("RegisterKey", "The secret of one workspace's sidecar (`HELIX_REGISTER_KEY_<WORKSPACE>` locally)."),
];

/// The whole document.
#[must_use]
pub fn document() -> OpenApi {
    let tag = |name: &str, text: &str| TagBuilder::new().name(name).description(Some(text)).build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Helix ingest")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
                .build(),
        )
        .servers(Some([ServerBuilder::new()
            .url("/")
            .description(Some("The ingest that serves this document"))
            .build()]))
        .tags(Some([
            tag("events", "Agent and call events of the provider's account. One URL takes both kinds."),
            tag("callbacks", "The provider's summary after each call, missed or answered, for one workspace."),
            tag("directory", "Which workspace owns which agents and DIDs; used by sidecars."),
            tag("operation", "Health, metrics and this document. No key."),
        ]))
        .paths(operations::paths())
        .components(Some(components()))
        .build()
}

/// A header of the components.
fn header(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}

fn components() -> Components {
    let mut components = ComponentsBuilder::new();
    for refusals in Refusals::ALL {
        components = components.responses_from_iter(refusals.components());
    }
    for (name, about) in KEYS {
        let query = format!("{about} A URL is easily logged: prefer the header.");
        components = components
            .security_scheme(
                name,
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("X-Helix-Key", about))),
            )
            .security_scheme(
                format!("{name}InQuery"),
                SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description("key", query.as_str()))),
            );
    }
    components
        .schema("Event", bodies::event())
        .schema("Delivery", bodies::delivery())
        .schemas_from_iter(schemas())
        .request_body("Events", operations::events())
        .request_body("Callbacks", operations::callbacks())
        .response("Accepted", operations::accepted())
        .parameter("XRequestId", request_id())
        .parameter("Workspace", workspace())
        .parameter("GatewayWorkspace", gateway_workspace())
        .parameter("Key", path_key())
        .header("XRequestId", always("The request's id, as taken or made.", text(REQUEST_ID_PATTERN)))
        .header("RetryAfter", always("Seconds.", ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1))))
        .header("WwwAuthenticate", always("How to present a key.", ObjectBuilder::new().schema_type(Type::String)))
        .header("Allow", always("The methods that this path takes.", ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// The types of `bodies`, with those they hold.
fn schemas() -> Vec<(String, RefOr<Schema>)> {
    fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    let mut all = Vec::new();
    add::<bodies::AgentEvent>(&mut all);
    add::<bodies::CallEvent>(&mut all);
    add::<bodies::Callback>(&mut all);
    add::<bodies::Form>(&mut all);
    add::<bodies::Accepted>(&mut all);
    add::<bodies::Registration>(&mut all);
    add::<bodies::Registered>(&mut all);
    add::<bodies::Heartbeat>(&mut all);
    add::<bodies::Beaten>(&mut all);
    add::<bodies::Listing>(&mut all);
    add::<bodies::Probed>(&mut all);
    add::<bodies::Alive>(&mut all);
    add::<bodies::Ready>(&mut all);
    add::<bodies::Problem>(&mut all);
    all
}

/// A header that every such response has.
fn always(about: &str, schema: ObjectBuilder) -> Header {
    HeaderBuilder::new()
        .description(Some(about))
        .schema(Some(schema))
        // Not among the builder's members.
        .extensions(Some(Extensions::from_iter([("required", true)])))
        .build()
}

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

fn request_id() -> Parameter {
    ParameterBuilder::new()
        .name("X-Request-Id")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Your own id of this request; one of another form is replaced."))
        .schema(Some(text(REQUEST_ID_PATTERN)))
        .build()
}

fn workspace() -> Parameter {
    ParameterBuilder::new()
        .name("workspace")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The workspace's slug."))
        .schema(Some(text(SLUG_PATTERN)))
        .example(Some("ramaiah".into()))
        .build()
}

fn gateway_workspace() -> Parameter {
    ParameterBuilder::new()
        .name("X-Helix-Workspace")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Set by the gateway, never by the sender. Without it: 404 `unknown_workspace`."))
        .schema(Some(text(SLUG_PATTERN)))
        .example(Some("ramaiah".into()))
        .build()
}

fn path_key() -> Parameter {
    ParameterBuilder::new()
        .name("key")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The operation's secret. Never logged or stored here; proxies in between may log it."))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password))),
        ))
        .build()
}

/// `GET /openapi.json`
pub(super) async fn serve() -> Json<&'static OpenApi> {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(document);
    Json(&DOCUMENT)
}
