//! What is measured on the way of a change: how long steps take, and when each thread was last heard of.
//!
//! Owns: the instruments. Does not own: what is measured with them (whoever does the work), and what is shown (`status`).

pub mod awake;
mod heartbeat;
mod histogram;

pub use heartbeat::{Heartbeat, Pulse, ThreadState};
pub use histogram::{Distribution, Histogram};
