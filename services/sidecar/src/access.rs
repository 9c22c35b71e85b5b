//! Who is asking: the bearer token of each request, checked against the key sets and this workspace; and what a role may do
//! and see, in one place ([`Viewer::may`], [`Sight`]).

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, header, request::Parts},
};
use helix_kit::{
    auth::{AuthError, Claims, Role, Verifier},
    problem::Problem,
};
use helix_schemas::names::{AgentId, WorkspaceId};

use crate::{
    platform::PlatformKeys,
    view::{Audience, mask},
};

/// What is needed to know who is asking. Cheap to clone; the state of routes that others add.
#[derive(Debug, Clone)]
pub struct Access {
    pub(crate) workspace: WorkspaceId,
    pub(crate) verifier: Arc<Verifier>,
    /// Where the platform's issuer publishes its keys.
    pub(crate) platform: Option<Arc<PlatformKeys>>,
}

impl Access {
    /// The claims of a token that is valid now.
    async fn verified(&self, token: &str) -> Result<Claims, Problem> {
        let asked_at = Instant::now();
        let mut verified = self.verifier.verify(token);
        if let (Err(AuthError::UnknownKey), Some(platform)) = (&verified, &self.platform) {
            let is_current = platform.look_again(asked_at).await;
            verified = self.verifier.verify(token);
            if matches!(verified, Err(AuthError::UnknownKey)) && !is_current {
                return Err(Problem::component_down("the platform's key set"));
            }
        }
        verified.map_err(|error| {
            // The library's words name what is wrong with a token, never what is in it.
            tracing::debug!(%error, "a token was refused");
            unauthorised("token_invalid", "the token is malformed, has ended, or is of no key that is known here")
        })
    }
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
    /// When the person signed in here, Unix seconds; `None` with a token of the platform's.
    pub signed_in_at: Option<i64>,
}

/// What a request is about, as far as roles are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The workspace, agents, calls and metrics: an agent is shown the own part of them.
    Records,
    /// The missed calls, which belong to nobody.
    Worklist,
    /// Working on missed calls.
    WorkOnMissedCalls,
}

impl Part {
    const fn is_open_to(self, role: Role) -> bool {
        match (self, role) {
            (Self::Records, _)
            | (_, Role::Admin | Role::Supervisor)
            | (Self::Worklist, Role::Analyst | Role::Auditor) => true,
            (Self::Worklist | Self::WorkOnMissedCalls, Role::Agent)
            | (Self::WorkOnMissedCalls, Role::Analyst | Role::Auditor) => false,
        }
    }
}

/// What a person is shown of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The one agent whose records these are; the outer `None`: everybody's. A token of role `agent` that names no agent
    /// is shown nobody's.
    own: Option<Option<AgentId>>,
    numbers: bool,
}

impl Sight {
    /// Of whom records are shown; `None`: of everybody. No agent has an empty id.
    pub(crate) fn only(&self) -> Option<&str> {
        self.own.as_ref().map(|agent| agent.as_ref().map_or("", AgentId::as_str))
    }

    /// Whether the records of this agent are shown.
    pub(crate) fn includes(&self, agent: &AgentId) -> bool {
        self.only().is_none_or(|only| only == agent.as_str())
    }

    /// A caller's number, as this person may see it.
    pub(crate) fn caller(&self, number: Option<String>) -> Option<String> {
        if self.numbers { number } else { number.as_deref().map(mask) }
    }

    /// The address of a recording, which lets one hear the caller and may hold the number.
    pub(crate) fn recording(&self, address: Option<String>) -> Option<String> {
        address.filter(|_| self.numbers)
    }
}

impl Viewer {
    /// What this person is shown of a part.
    ///
    /// # Errors
    /// 403 where the role has no access to it.
    pub(crate) fn may(&self, part: Part) -> Result<Sight, Problem> {
        if !part.is_open_to(self.role) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "role_not_allowed",
                "The role has no access to this",
                "ask somebody of another role, or an administrator for another role",
            ));
        }
        let own = (self.role == Role::Agent).then(|| self.agent.clone());
        Ok(Sight { own, numbers: self.role.sees_callers() })
    }

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
        let claims = access.verified(token.trim()).await?;
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
            signed_in_at: claims.is_own.then(|| claims.auth_time.unwrap_or(claims.iat)),
        })
    }
}

fn unauthorised(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, "A valid token is needed", detail)
}
