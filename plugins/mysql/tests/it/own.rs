//! Tables of ebb's name that are not as ebb makes them.
//!
//! Owns: that they are neither read nor written. Does not own: what is right in one (`progress`, `triggers`).

use ebb_sdk::Session as _;

use crate::own_tables::{progress_is_refused, statements};
use crate::world::{FEED, World};

const PROGRESS: &str = "CREATE TABLE ebb_progress (feed VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, \
    wall BIGINT NOT NULL, logical INT NOT NULL, epoch BIGINT NOT NULL, writer BIGINT NOT NULL, \
    updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), alive_until DATETIME(6) NULL, note LONGTEXT NULL)";

/// What is done to the table, and what the refusal says of it.
const PLANTED: &[(&str, &str)] = &[
    ("CREATE TRIGGER `h``it` BEFORE UPDATE ON ebb_progress FOR EACH ROW SET NEW.wall = 7", "has the trigger h`it"),
    ("ALTER TABLE ebb_progress MODIFY feed VARCHAR(100), ENGINE = MyISAM", "its engine is MyISAM"),
    ("ALTER TABLE ebb_progress ADD COLUMN more INT DEFAULT 1", "has the column more"),
    ("ALTER TABLE ebb_progress MODIFY wall DECIMAL(30)", "the column wall"),
    ("ALTER TABLE ebb_progress DROP COLUMN writer, ADD COLUMN writer BIGINT AS (7)", "the column writer"),
    ("DROP TABLE ebb_progress; CREATE VIEW ebb_progress AS SELECT 1 AS feed", "no ordinary table"),
];

#[tokio::test]
async fn a_progress_table_that_is_not_as_ebb_makes_it_is_neither_read_nor_written() {
    for world in World::both("hostile_progress", "") {
        for (at, (plant, expected)) in PLANTED.iter().enumerate() {
            world.sql(&format!("DROP TABLE IF EXISTS ebb_progress; {PROGRESS}; {plant}"));
            let mut session = world.session().await;
            let hint = progress_is_refused(&mut session, FEED, plant, expected).await;
            world.sql(statements(&hint));
            session.take_over(FEED, 1).await.unwrap_or_else(|error| panic!("{plant}, {hint}: {error:?}"));
            if hint.contains("RENAME") {
                world.sql(&format!("RENAME TABLE ebb_progress_other TO aside_{at}"));
            }
        }
    }
}

#[tokio::test]
async fn a_record_of_triggers_on_which_a_trigger_acts_is_not_read() {
    let record = "CREATE TABLE ebb_triggers (place INT NOT NULL, name VARCHAR(64) PRIMARY KEY, definition LONGTEXT NOT NULL); \
                  CREATE TRIGGER hit BEFORE INSERT ON ebb_triggers FOR EACH ROW SET NEW.definition = '{}'";
    for world in World::both("hostile_record", record) {
        let mut session = world.session().await;
        let error = session.saved_triggers("").await.unwrap_err();
        assert!(error.message.contains("it has the trigger hit"), "{error:?}");
        world.sql(statements(&error.hint.unwrap()));
        assert_eq!(session.saved_triggers("").await.unwrap(), []);
    }
}
