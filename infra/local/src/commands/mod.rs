//! The commands of the local stack. Each is a plain function; the binary only maps its flags to them.

mod clean;
mod down;
mod logs;
mod summary;
mod supervise;
mod up;

pub use clean::clean;
pub use down::down;
pub use logs::{LogsOptions, logs};
pub use supervise::supervise;
pub use up::{UpOptions, up};
