//! Whether what suspended checks let pass is found afterwards: every kind of constraint that PostgreSQL suspends, from
//! both of its sides.

use ebb_sdk::{Checks, Error, ErrorKind, Operation, Result, Session as _};

use crate::world::{World, Writer, table_of};

/// Writes with checks suspended, changes the rows by hand as the host would by other blocks, and verifies the keys.
async fn verify(writer: &mut Writer<ebb_postgres::Session>, table: &str, key: &[&str], keys: &[&[&str]]) -> Result<()> {
    writer.session.begin(Checks::Suspended).await?;
    let verified = writer.write(table, Operation::Verify, key, keys).await;
    writer.session.rollback().await?;
    verified
}

/// Deletes rows by their key with checks suspended, and verifies the same; nothing stays.
async fn delete(writer: &mut Writer<ebb_postgres::Session>, table: &str, key: &[&str], keys: &[&[&str]]) -> Result<()> {
    write(writer, table, Operation::Delete, (key, keys), (key, keys)).await
}

async fn write(
    writer: &mut Writer<ebb_postgres::Session>,
    table: &str,
    operation: Operation,
    (columns, rows): (&[&str], &[&[&str]]),
    (key, keys): (&[&str], &[&[&str]]),
) -> Result<()> {
    writer.session.begin(Checks::Suspended).await?;
    writer.write(table, operation, columns, rows).await?;
    let verified = writer.write(table, Operation::Verify, key, keys).await;
    writer.session.rollback().await?;
    verified
}

/// Runs SQL as a transaction with suspended checks would.
fn force(world: &World, sql: &str) {
    world.sql(&format!("BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT"));
}

#[track_caller]
fn check(found: Result<()>, (code, constraint, table, key): (&str, &str, &str, &str)) {
    let Error {
        kind,
        message,
        hint,
        code: code_found,
        table: table_found,
        key: key_found,
        constraint: named,
        conflict,
        ..
    } = found.expect_err("a violation");
    assert_eq!((kind, conflict), (ErrorKind::Refused, false), "{message}");
    assert_eq!(code_found.as_deref(), Some(code), "{message}");
    assert_eq!((named.as_deref(), table_found.as_deref()), (Some(constraint), Some(table)), "{message}");
    assert_eq!(key_found.as_deref(), Some(key), "{message}");
    assert!(message.contains(&format!("the row {key} ")) && hint.is_some(), "{message}");
}

#[tokio::test]
async fn rows_that_refer_to_nothing() {
    let world = World::new(
        "verify_children",
        "CREATE TABLE p (x int, y int, PRIMARY KEY (x, y)); INSERT INTO p VALUES (1, 2);
         CREATE TABLE c (id int PRIMARY KEY, y int, x int, up int CONSTRAINT c_up REFERENCES c,
             CONSTRAINT c_p FOREIGN KEY (x, y) REFERENCES p);
         CREATE TABLE f (id int PRIMARY KEY, x int, y int,
             CONSTRAINT f_p FOREIGN KEY (x, y) REFERENCES p MATCH FULL);",
    );
    let mut writer = world.writer().await;
    force(
        &world,
        "INSERT INTO c VALUES (1, 2, 1, 1), (2, 1, 2, NULL), (3, 5, NULL, 1), (4, NULL, NULL, 9), (5, 2, 1, NULL)",
    );
    verify(&mut writer, "c", &["id"], &[&["1"], &["3"], &["5"], &["77"]]).await.unwrap();
    check(verify(&mut writer, "c", &["id"], &[&["1"], &["2"], &["3"]]).await, ("23503", "c_p", "public.c", "id=2"));
    check(verify(&mut writer, "c", &["id"], &[&["4"], &["1"]]).await, ("23503", "c_up", "public.c", "id=4"));
    force(&world, "INSERT INTO f VALUES (1, 1, 2), (2, NULL, NULL), (3, 1, NULL)");
    verify(&mut writer, "f", &["id"], &[&["1"], &["2"]]).await.unwrap();
    check(verify(&mut writer, "f", &["id"], &[&["3"]]).await, ("23503", "f_p", "public.f", "id=3"));
}

#[tokio::test]
async fn rows_that_are_referred_to_and_gone() {
    let world = World::new(
        "verify_parents",
        "CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE, tenant int, UNIQUE (tenant, id));
         INSERT INTO p SELECT i, 'c' || i, 1 FROM generate_series(1, 9) AS i;
         CREATE TABLE c (a int, b text, up int CONSTRAINT c_up REFERENCES p, PRIMARY KEY (a, b));
         CREATE TABLE d (id int PRIMARY KEY, code text CONSTRAINT d_code REFERENCES p (code));
         CREATE TABLE e (id int PRIMARY KEY, up int, tenant int,
             CONSTRAINT e_up FOREIGN KEY (tenant, up) REFERENCES p (tenant, id));
         INSERT INTO c VALUES (1, 'x', 1), (2, 'y', 2), (3, 'z', NULL); INSERT INTO d VALUES (1, 'c4');
         INSERT INTO e VALUES (1, 5, 1), (2, 6, NULL);",
    );
    let mut writer = world.writer().await;
    // Nothing refers to these, and the last was never there.
    delete(&mut writer, "p", &["id"], &[&["3"], &["6"], &["7"], &["70"]]).await.unwrap();
    let keys: [&[&str]; 3] = [&["3"], &["2"], &["7"]];
    check(delete(&mut writer, "p", &["id"], &keys).await, ("23503", "c_up", "public.c", "a=2, b=y"));
    // The row is there, and the value that was referred to is not.
    let update = async |writer: &mut Writer<_>, columns: &[&str], row: &[&str]| {
        let rows = [row];
        write(writer, "p", Operation::Update, (columns, &rows), (&["id"], &[&row[..1]])).await
    };
    let found = update(&mut writer, &["id", "code"], &["4", "\"other\""]).await;
    check(found, ("23503", "d_code", "public.d", "id=1"));
    update(&mut writer, &["id", "code"], &["4", "\"c4\""]).await.unwrap();
    update(&mut writer, &["id", "code"], &["3", "\"other\""]).await.unwrap();
    check(update(&mut writer, &["id", "tenant"], &["5", "2"]).await, ("23503", "e_up", "public.e", "id=1"));
    // Another row has taken the value over meanwhile.
    writer.session.begin(Checks::Suspended).await.unwrap();
    let rows: [&[&str]; 2] = [&["4", "null"], &["8", "\"c4\""]];
    writer.write("p", Operation::Update, &["id", "code"], &rows[..1]).await.unwrap();
    writer.write("p", Operation::Update, &["id", "code"], &rows[1..]).await.unwrap();
    writer.write("p", Operation::Verify, &["id"], &[&["4"], &["8"]]).await.unwrap();
    writer.session.rollback().await.unwrap();
}

/// Rows that refer to nothing came before ebb: with checks off, or before the constraint, which was not validated.
#[tokio::test]
async fn what_was_amiss_before_is_not_complained_of() {
    let world = World::new(
        "verify_orphans",
        "CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE, n int); INSERT INTO p VALUES (1, 'a', 0), (2, 'b', 0);
         CREATE TABLE c (id int PRIMARY KEY, code text, up int, v text);
         INSERT INTO c VALUES (1, 'a', 1), (2, 'orphan', 99), (3, NULL, NULL);
         ALTER TABLE c ADD CONSTRAINT c_code FOREIGN KEY (code) REFERENCES p (code) ON UPDATE CASCADE NOT VALID,
             ADD CONSTRAINT c_up FOREIGN KEY (up) REFERENCES p ON DELETE CASCADE NOT VALID;",
    );
    let mut writer = world.writer().await;
    // A delete of a row that was not there, and an upsert of one that keeps what is referred to.
    delete(&mut writer, "p", &["id"], &[&["99"], &["2"]]).await.unwrap();
    let (columns, rows): ([&str; 3], [&[&str]; 1]) = (["id", "code", "n"], [&["1", "\"a\"", "1"]]);
    write(&mut writer, "p", Operation::Upsert, (&columns, &rows), (&["id"], &[&["1"]])).await.unwrap();
    // An orphan that stays one, and one that is made.
    let columns = ["id", "code", "up", "v"];
    for operation in [Operation::Upsert, Operation::Replace] {
        let rows: [&[&str]; 2] = [&["2", "\"orphan\"", "99", "\"new\""], &["3", "\"b\"", "2", "null"]];
        write(&mut writer, "c", operation, (&columns, &rows), (&["id"], &[&["2"], &["3"]])).await.unwrap();
        let rows: [&[&str]; 2] = [&["2", "\"orphan\"", "98", "\"new\""], &["3", "null", "null", "null"]];
        let found = write(&mut writer, "c", operation, (&columns, &rows), (&["id"], &[&["2"], &["3"]])).await;
        check(found, ("23503", "c_up", "public.c", "id=2"));
    }
    // One that this transaction orphaned itself, before it wrote to it.
    writer.session.begin(Checks::Suspended).await.unwrap();
    writer.write("p", Operation::Delete, &["id"], &[&["1"]]).await.unwrap();
    writer.write("c", Operation::Upsert, &columns, &[&["1", "\"a\"", "1", "\"x\""]]).await.unwrap();
    writer.write("c", Operation::Verify, &["id"], &[&["1"]]).await.unwrap();
    let found = writer.write("p", Operation::Verify, &["id"], &[&["1"]]).await;
    check(found, ("23503", "c_code", "public.c", "id=1"));
    writer.session.rollback().await.unwrap();
}

#[tokio::test]
async fn rows_that_exclude_each_other() {
    let world = World::new(
        "verify_exclusions",
        "CREATE TABLE t (id int PRIMARY KEY, place text, u int CONSTRAINT t_u UNIQUE DEFERRABLE, x int4range, on_sale bool,
             CONSTRAINT t_x EXCLUDE USING gist (x WITH &&) WHERE (on_sale) DEFERRABLE,
             CONSTRAINT t_place UNIQUE (place, u) DEFERRABLE);
         CREATE TABLE n (id int PRIMARY KEY, a int, CONSTRAINT n_a UNIQUE NULLS NOT DISTINCT (a) DEFERRABLE);",
    );
    let mut writer = world.writer().await;
    force(
        &world,
        "INSERT INTO t VALUES (1, 'a', 1, '[1,3)', true), (2, 'b', 1, '[5,9)', true), (3, 'b', NULL, '[2,4)', false)",
    );
    let found = verify(&mut writer, "t", &["id"], &[&["3"], &["2"]]).await;
    check(found, ("23505", "t_u", "public.t", "id=2"));
    verify(&mut writer, "t", &["id"], &[&["3"]]).await.unwrap();
    force(&world, "UPDATE t SET u = id, on_sale = true");
    check(verify(&mut writer, "t", &["id"], &[&["3"]]).await, ("23P01", "t_x", "public.t", "id=3"));
    verify(&mut writer, "t", &["id"], &[&["2"]]).await.unwrap();
    force(&world, "INSERT INTO n VALUES (1, NULL), (2, NULL), (3, 3)");
    verify(&mut writer, "n", &["id"], &[&["3"]]).await.unwrap();
    check(verify(&mut writer, "n", &["id"], &[&["2"]]).await, ("23505", "n_a", "public.n", "id=2"));
}

#[tokio::test]
async fn single_partitions_are_looked_at_too() {
    let world = World::new(
        "verify_partitions",
        "CREATE TABLE q (id int PRIMARY KEY); INSERT INTO q VALUES (1);
         CREATE TABLE whole (id int PRIMARY KEY, up int) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF whole FOR VALUES FROM (0) TO (10);
         CREATE TABLE high PARTITION OF whole FOR VALUES FROM (10) TO (20);
         ALTER TABLE low ADD CONSTRAINT low_up FOREIGN KEY (up) REFERENCES q;
         CREATE TABLE r (id int PRIMARY KEY, up int CONSTRAINT r_low REFERENCES low);
         CREATE TABLE s (id int PRIMARY KEY, up int CONSTRAINT s_whole REFERENCES whole);
         INSERT INTO whole VALUES (1, 1), (2, 1), (11, 9); INSERT INTO r VALUES (1, 2); INSERT INTO s VALUES (1, 11);",
    );
    let mut writer = world.writer().await;
    let keys: [&[&str]; 3] = [&["1"], &["2"], &["11"]];
    verify(&mut writer, "whole", &["id"], &keys).await.unwrap();
    force(&world, "UPDATE whole SET up = 5 WHERE id = 1");
    check(verify(&mut writer, "whole", &["id"], &keys).await, ("23503", "low_up", "public.low", "id=1"));
    let found = delete(&mut writer, "whole", &["id"], &keys[..2]).await;
    check(found, ("23503", "r_low", "public.r", "id=1"));
    check(delete(&mut writer, "whole", &["id"], &keys[2..]).await, ("23503", "s_whole", "public.s", "id=1"));
}

#[tokio::test]
async fn keys_that_nobody_enforces_are_not_verified() {
    let world = World::new(
        "verify_disabled",
        "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2);
         CREATE TABLE c (id int PRIMARY KEY, up int CONSTRAINT c_up REFERENCES p); INSERT INTO c VALUES (1, 1), (2, 2);
         ALTER TABLE c DISABLE TRIGGER ALL;",
    );
    let mut writer = world.writer().await;
    // What refers is not looked at any more; what is referred to still is.
    force(&world, "UPDATE c SET up = 9 WHERE id = 1");
    verify(&mut writer, "c", &["id"], &[&["1"]]).await.unwrap();
    check(delete(&mut writer, "p", &["id"], &[&["2"]]).await, ("23503", "c_up", "public.c", "id=2"));
    assert_eq!(table_of(&writer.catalog, "c").foreign_keys.len(), 1);
    world.sql("ALTER TABLE p DISABLE TRIGGER ALL");
    let mut writer = world.writer().await;
    delete(&mut writer, "p", &["id"], &[&["2"]]).await.unwrap();
    assert_eq!(table_of(&writer.catalog, "c").foreign_keys.len(), 0);
}

#[tokio::test]
async fn names_and_types_of_every_kind() {
    let world = World::new(
        "verify_names",
        "CREATE SCHEMA \"o d\"; CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
         CREATE TABLE \"o d\".\"P'\"\"\" (\"k'\"\"\" ext.citext PRIMARY KEY, \"select\" numeric UNIQUE DEFERRABLE);
         CREATE TABLE c (\"i'd\" varchar(5) PRIMARY KEY, \"up '\"\"\" ext.citext CONSTRAINT \"c '\"\"\" REFERENCES \"o d\".\"P'\"\"\");
         INSERT INTO \"o d\".\"P'\"\"\" VALUES ('Ada', 1.0); INSERT INTO c VALUES ('x', 'ADA');",
    );
    let mut writer = world.writer().await;
    verify(&mut writer, "P'\"", &["k'\""], &[&["\"aDA\""]]).await.unwrap();
    verify(&mut writer, "c", &["i'd"], &[&["\"x\""]]).await.unwrap();
    check(delete(&mut writer, "P'\"", &["k'\""], &[&["\"Ada\""]]).await, ("23503", "c '\"", "public.c", "i'd=x"));
    force(&world, "DELETE FROM \"o d\".\"P'\"\"\"");
    check(verify(&mut writer, "c", &["i'd"], &[&["\"x\""]]).await, ("23503", "c '\"", "public.c", "i'd=x"));
}

#[tokio::test]
async fn questions_find_rows_by_their_keys() {
    let world = World::new(
        "verify_plans",
        "CREATE TABLE p (id int PRIMARY KEY) WITH (autovacuum_enabled = off);
         CREATE TABLE c (id int PRIMARY KEY, up int REFERENCES p, u int UNIQUE DEFERRABLE) WITH (autovacuum_enabled = off);
         CREATE INDEX ON c (up); INSERT INTO p SELECT generate_series(1, 20000);
         INSERT INTO c SELECT i, i, i FROM generate_series(1, 20000) AS i;",
    );
    let mut writer = world.writer().await;
    let scans = "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname IN ('p', 'c') ORDER BY 1";
    let before = world.sql(scans);
    let numbers: Vec<_> = (0..1000).map(|at: u32| (at * 20).to_string()).collect();
    let rows: Vec<_> = numbers.iter().map(|number| [number.as_str()]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(<[&str; 1]>::as_slice).collect();
    let children: Vec<_> = numbers.iter().map(|number| [number.as_str(); 3]).collect();
    let children: Vec<&[&str]> = children.iter().map(<[&str; 3]>::as_slice).collect();
    writer.session.begin(Checks::Suspended).await.unwrap();
    writer.write("p", Operation::Delete, &["id"], &rows).await.unwrap();
    writer.write("c", Operation::Upsert, &["id", "up", "u"], &children[1..]).await.unwrap();
    writer.write("p", Operation::Upsert, &["id"], &rows).await.unwrap();
    writer.write("p", Operation::Verify, &["id"], &rows).await.unwrap();
    writer.write("c", Operation::Verify, &["id"], &rows).await.unwrap();
    writer.commit().await.unwrap();
    writer.session.close().await;
    world.wait_for_no_session();
    assert_eq!(world.sql(scans), before);
}
