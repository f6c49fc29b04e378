//! A source that can be connected to, and has nothing to replicate.
//!
//! Owns: the wrong database. Does not own: connections that fail (`findings`).

use super::{TABLE, fails};
use crate::harness::world::World;

#[test]
fn the_database_of_the_source_is_not_the_right_one() {
    let world = World::with_schemas("codes_source", "SELECT 1", TABLE);
    let missing = world.source_url().replace("/codes_source?", "/no_such_database?");
    for (source, told) in [
        (missing, ("S012", "database \"no_such_database\" does not exist", "check the database in --source")),
        (world.source_url(), ("S022", "the source's database codes_source has no table", "GRANT SELECT, CHANGEFEED")),
    ] {
        fails(world.fetch(&["--source", &source]), told);
    }
}
