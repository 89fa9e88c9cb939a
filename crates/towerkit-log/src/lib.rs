//! One log event for each call of a tower service.

mod encode;
mod escape;
mod events;
mod json;
mod kept;
mod layer;
mod level;
mod line;
mod lines;
mod logfmt;
mod observer;
mod record;
mod spans;
mod subscriber;
mod timestamp;

pub use events::EventLog;
pub use kept::LogHeld;
pub use layer::LogHandle;
pub use layer::LogLayer;
pub use layer::Logged;
pub use level::level_of;
pub use lines::Format;
pub use lines::Lines;
pub use observer::Log;
pub use subscriber::AlreadyInstalled;
pub use subscriber::LogSubscriber;
pub use subscriber::subscriber;
pub use tracing_subscriber::filter::Targets;
