//! Real servers for the tests and the demo: each is started on a free loopback port with its files in a temporary
//! folder, and ended by its process id when its value is dropped, or when the process that started it dies.
//!
//! Beside them [`Webhook`], which posts to ebb what a changefeed would. Everything here blocks and uses no runtime, so that it serves synchronous and asynchronous tests alike.
//! Does not own: connecting to a server (any driver will do), and what a test keeps in it.

mod server;
mod postgres;
mod mysql;
mod process;
mod certs;
mod error;

mod proxy;
mod impostor;
mod webhook;

pub use certs::{Certs, KeyPair};
pub use error::{Error, Result};
pub use impostor::Impostor;
pub use mysql::{Flavour, MySql, MySqlOptions};
pub use postgres::{Authentication, Postgres, PostgresOptions};
pub use process::{Watcher, signal};
pub use proxy::{Cut, Protocol, Proxy};
pub use rustix::process::Signal;
pub use server::{Dialect, Server};
pub use webhook::Webhook;
