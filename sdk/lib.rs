//! Everything that ebb and a dialect plugin share. A plugin implements [`Dialect`] and [`Session`], writes
//! [`export_dialect!`] once, and is compiled as a `cdylib`; ebb loads it by name, by path or by URL scheme.
//!
//! Owns: the model of a change, the description of a target, the traits, the errors, the stable ABI.
//! Does not own: planning, retries and ordering (the host's), statements and types of a database (the plugin's).
//!
//! The modules stand in reading order.

#![warn(missing_docs)]

mod change;
mod number;

mod index;
mod catalog;
mod fit;
mod rounding;
mod survey;
mod compare;
mod sequences;

mod progress;
mod dialect;

mod error;
mod topic;
mod mask;
mod values;
mod url;

pub mod tls;

pub mod abi;
pub mod export;

pub use catalog::{
    Action, Catalog, Column, ForeignKey, Identity, MissingRight, NotWritable, OtherRelation, SavedTrigger, Table,
    Trigger, UniqueKey,
};
pub use change::{Block, Cell, Kind, Operation, RowBuffer, Timestamp, TimestampError, Value};
pub use compare::{Compared, Difference, DifferentColumn, Frozen, Join, Key, KeyPage};
pub use dialect::{Checks, ConnectOptions, Dialect, DialectInfo, Level, Session, log};
pub use error::{Error, ErrorKind, Result, SHOWN_CHARS_MAX, missing_parent, shortened, unreachable, with_causes};
pub use fit::{Family, Fit, FitQuestion, Rounded, SourceType};
pub use index::{ColumnIndex, TableIndex};
pub use mask::{MASK, masked, masked_url, masked_value};
pub use number::{Number, is_number, second_digits};
pub use progress::{Advance, LeaseRenewal, LeaseState, Progress, overtaken};
pub use rounding::Rounding;
pub use sequences::{SequenceMove, SequenceMoves};
pub use survey::{Concern, ConcernKind, Survey, Unlooked};
pub use topic::Topic;
pub use url::{DatabaseUrl, Secret};
pub use values::{HIDDEN, hide_values, shown_value, values_are_hidden};
