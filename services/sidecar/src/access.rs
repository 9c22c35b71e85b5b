//! Who is asking: the bearer token of each request, checked against the key set and this workspace.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, header, request::Parts},
};
use helix_kit::{
    auth::{Role, Verifier},
    problem::Problem,
};
use helix_schemas::names::{AgentId, WorkspaceId};

use crate::view::Audience;

/// What is needed to know who is asking. Cheap to clone; the state of routes that others add.
#[derive(Debug, Clone)]
pub struct Access {
    pub(crate) workspace: WorkspaceId,
    pub(crate) verifier: Arc<Verifier>,
}

/// A person with a valid token of this workspace. As a handler's argument it answers 401 and 403 by itself.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Who.
    pub subject: String,
    /// In which role.
    pub role: Role,
    /// Which agent this person is.
    pub agent: Option<AgentId>,
    /// When the token ends, Unix seconds.
    pub expires_at: i64,
}

impl Viewer {
    /// What this person sees of the board.
    pub(crate) fn audience(&self) -> Audience {
        match self.role {
            Role::Agent => Audience::Own(self.agent.clone()),
            Role::Admin | Role::Supervisor | Role::Analyst | Role::Auditor => {
                if self.role.sees_callers() {
                    Audience::Full
                } else {
                    Audience::Masked
                }
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer
where
    Access: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let access = Access::from_ref(state);
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            given.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else {
            return Err(unauthorised("token_missing", "send the token as `Authorization: Bearer …`"));
        };
        let claims = access.verifier.verify(token.trim()).map_err(|error| {
            // The library's words name what is wrong with a token, never what is in it.
            tracing::debug!(%error, "a token was refused");
            unauthorised("token_invalid", "the token is malformed, has ended, or is of no key that is known here")
        })?;
        if claims.workspace != access.workspace.as_str() {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "wrong_workspace",
                "The token is of another workspace",
                "sign in at the sidecar of the workspace that the token names",
            ));
        }
        Ok(Self {
            subject: claims.sub,
            role: claims.role,
            agent: claims.agent_id.as_deref().and_then(|id| AgentId::new(id).ok()),
            expires_at: claims.exp,
        })
    }
}

fn unauthorised(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, "A valid token is needed", detail)
}
