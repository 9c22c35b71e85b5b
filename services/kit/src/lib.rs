//! What every service shares: configuration, problem+json errors, HTTP serving with health and metrics, telemetry,
//! secrets, token checks and the spool. It knows nothing of telephony.

pub mod auth;
pub mod config;
pub mod http;
pub mod problem;
pub mod secret;
pub mod spool;
pub mod telemetry;
