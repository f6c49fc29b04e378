//! What will matter later, of names and tables that are not ordinary.

use std::time::{Duration, Instant};

use ebb_mysql::Session;
use ebb_sdk::{Checks, ConcernKind, Operation, Session as _};

use crate::world::{World, Writer, connect};

async fn names_writer(session: &mut Session) -> bool {
    let survey = session.survey(&[]).await.expect("a survey");
    survey.concerns.iter().any(|concern| concern.kind == ConcernKind::OtherWriter && concern.reason.contains("a@b"))
}

#[tokio::test]
async fn sessions_of_this_user_are_not_those_of_others_whatever_it_is_called() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY); DROP USER IF EXISTS `a@b`; CREATE USER `a@b` IDENTIFIED BY 'pw';
         GRANT ALL ON survey_user.* TO `a@b`; GRANT PROCESS ON *.* TO `a@b`";
    for world in World::both("survey_user", schema) {
        let url = world.url_as("a%40b", "pw");
        let mut own = Writer::new(connect(&url).await.unwrap()).await;
        own.session.begin(Checks::Immediate).await.unwrap();
        own.write("t", Operation::Upsert, &["id"], &[&["1"]]).await.unwrap();
        let mut other = world.session().await;
        let deadline = Instant::now() + Duration::from_secs(10);
        // The server renews what it tells of transactions once nobody has asked for 0.1 s.
        while !names_writer(&mut other).await {
            assert!(Instant::now() < deadline, "the writer is not seen");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let mut session = connect(&url).await.unwrap();
        session.describe().await.unwrap();
        assert!(!names_writer(&mut session).await);
        own.session.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_counter_in_a_foreign_key_is_widened_with_it() {
    let schema = "CREATE TABLE p (id INT AUTO_INCREMENT PRIMARY KEY);
         CREATE TABLE c (id INT PRIMARY KEY, up INT, CONSTRAINT c_up FOREIGN KEY (up) REFERENCES p (id));
         INSERT INTO p VALUES (2000000000)";
    for world in World::both("survey_references", schema) {
        let mut session = world.session().await;
        let catalog = session.describe().await.unwrap();
        let survey = session.survey(&catalog.tables.iter().collect::<Vec<_>>()).await.unwrap();
        let narrow = survey.concerns.iter().find(|concern| concern.kind == ConcernKind::SequenceNarrow).unwrap();
        let fix = narrow.fix.as_deref().unwrap();
        assert!(fix.contains("drop `c_up` of `c` first"), "{fix}");
        let statement = fix.split_once("column: ").unwrap().1;
        world.sql(&format!(
            "ALTER TABLE c DROP FOREIGN KEY c_up, MODIFY up BIGINT; {statement}
             ALTER TABLE c ADD CONSTRAINT c_up FOREIGN KEY (up) REFERENCES p (id)"
        ));
        let survey = session.survey(&catalog.tables.iter().collect::<Vec<_>>()).await.unwrap();
        let is_narrow = survey.concerns.iter().any(|concern| concern.kind == ConcernKind::SequenceNarrow);
        assert!(!is_narrow, "{survey:?}");
    }
}
