//! What every service shares: configuration, problem+json errors, HTTP serving with health and metrics, telemetry,
//! secrets and token checks. It knows nothing of telephony.

pub mod auth;
pub mod config;
pub mod http;
pub mod problem;
pub mod secret;
pub mod telemetry;
