//! Statements that only CockroachDB has: their results and their refusals.

use ebb_crdb::CrdbOptions;

use crate::harness::{Stage, connect, text};

#[tokio::test(flavor = "multi_thread")]
async fn changefeeds_are_refused_in_the_words_of_cockroachdb() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY); CREATE VIEW v AS SELECT 1; CREATE SEQUENCE s").await;
    stage.run("CREATE TABLE keyless (a int); CREATE TABLE odd (id int8 PRIMARY KEY, x money)").await;
    let sink = stage.receiver.url("/");
    for (tables, options, code, message) in [
        ("x", "updated", "42P01", "failed to resolve targets in the CHANGEFEED stmt: table \"x\" does not exist"),
        ("v", "updated", "42809", "CHANGEFEED cannot target views: v"),
        ("s", "updated", "42809", "CHANGEFEED cannot target sequences: s"),
        ("t, public.t", "updated", "XXUUU", "CHANGEFEED targets t and public.t are duplicates"),
        ("keyless", "updated", "0A000", "stand-in: not supported: changefeed of table \"keyless\""),
        ("odd", "updated", "0A000", "stand-in: not supported: the type of column \"x\""),
        ("other.public.t", "updated", "0A000", "stand-in: not supported: changefeed of a table in another database"),
        ("t", "cursor = '9000000000000000000'", "22023", "AS OF SYSTEM TIME: cannot specify timestamp in the future"),
        (
            "t",
            "cursor = '1.0000000000'",
            "42P01",
            "failed to resolve targets in the CHANGEFEED stmt: table \"t\" does not exist",
        ),
        ("t", "resolved = 'x'", "XXUUU", "problem parsing option resolved: time: invalid duration \"x\""),
        ("t", "nonsense", "22023", "invalid option \"nonsense\""),
        (
            "t",
            "webhook_sink_config = '{\"Flush\":{\"Bytes\":1}}'",
            "XXUUU",
            "invalid sink config, Flush.Frequency is not set",
        ),
    ] {
        let (found, text) =
            stage.refusal(&format!("CREATE CHANGEFEED FOR TABLE {tables} INTO '{sink}' WITH {options}")).await;
        assert!(found == code && text.contains(message), "{tables} {options}: {found} {text}");
    }
    stage.run("SELECT crdb_internal.collect_garbage('0s')").await;
    let old = format!("CREATE CHANGEFEED FOR t INTO '{sink}' WITH cursor = '-1h'");
    assert!(stage.refusal(&old).await.1.contains("is older than the GC threshold"));
    stage.run("SET CLUSTER SETTING kv.rangefeed.enabled = DEFAULT").await;
    let (_, text) = stage.refusal(&format!("CREATE CHANGEFEED FOR x INTO '{sink}'")).await;
    assert!(text.starts_with("rangefeeds require the kv.rangefeed.enabled setting. See https://"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn preparing_a_changefeed_does_nothing_yet() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    let sql = format!("CREATE CHANGEFEED FOR t INTO '{}'", stage.receiver.url("/"));
    let statement = stage.sql.prepare(&sql).await.unwrap();
    assert_eq!(statement.columns()[0].name(), "job_id");
    assert!(stage.sql.query("SHOW CHANGEFEED JOBS", &[]).await.unwrap().is_empty());
    let job: i64 = stage.sql.query_one(&statement, &[]).await.unwrap().get(0);
    let rows = stage.sql.query("SHOW CHANGEFEED JOBS", &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>("job_id"), job);
    assert_eq!(rows[0].get::<_, Vec<String>>("full_table_names"), ["defaultdb.public.t"]);
    let job_row = stage.sql.query_one("SELECT job_id FROM [SHOW CHANGEFEED JOBS] WHERE job_id = $1", &[&job]).await;
    assert_eq!(job_row.unwrap().get::<_, i64>(0), job);
    assert!(stage.sql.query("SHOW CHANGEFEED JOB 5", &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changefeed_privilege_is_granted_per_table() {
    let stage = Stage::new().await;
    stage
        .run("CREATE TABLE t (id int8 PRIMARY KEY); CREATE TABLE u (id int8 PRIMARY KEY); CREATE ROLE app LOGIN")
        .await;
    let app = connect(&stage.crdb.url("defaultdb", "app")).await;
    let sql = format!("CREATE CHANGEFEED FOR t, u INTO '{}'", stage.receiver.url("/"));
    stage.run("GRANT CHANGEFEED ON TABLE t TO app").await;
    let error = app.batch_execute(&sql).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "42501");
    assert!(error.message().starts_with("user app requires the CHANGEFEED privilege on all target tables"));
    stage.run("GRANT CHANGEFEED ON t, public.u TO app").await;
    app.batch_execute(&sql).await.unwrap();
    assert_eq!(text(&app, "SELECT user_name FROM [SHOW CHANGEFEED JOBS]").await, "app");
    let error = app.batch_execute("SET CLUSTER SETTING kv.rangefeed.enabled = false").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_shown() {
    let stage = Stage::new().await;
    stage.run("CREATE TYPE mood AS ENUM ('ok')").await;
    stage
        .run(
            "CREATE TABLE t (b int8, a varchar(10) DEFAULT 'x', n decimal(10,2) NOT NULL, m mood, l int8[], \
             s text GENERATED ALWAYS AS (a || '!') STORED, PRIMARY KEY (b, a))",
        )
        .await;
    let rows = stage.sql.query("SHOW COLUMNS FROM t", &[]).await.unwrap();
    let types: Vec<String> = rows.iter().map(|row| row.get("data_type")).collect();
    assert_eq!(types, ["INT8", "VARCHAR(10)", "DECIMAL(10,2)", "public.mood", "INT8[]", "STRING"]);
    let rows = stage.sql.query("SHOW INDEXES FROM public.t", &[]).await.unwrap();
    let key: Vec<String> =
        rows.iter().filter(|row| !row.get::<_, bool>("storing")).map(|row| row.get("column_name")).collect();
    assert_eq!(key, ["b", "a"]);
    let types = "SELECT string_agg(crdb_sql_type, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 't'";
    assert_eq!(stage.text(types).await, "INT8,VARCHAR(10),DECIMAL(10,2),public.mood,INT8[],STRING");
    assert_eq!(stage.text("SELECT table_name FROM [SHOW TABLES]").await, "t");
    assert_eq!(stage.refusal("SHOW CREATE TABLE t").await.0, "0A000");
    assert_eq!(stage.refusal("SHOW COLUMNS FROM x").await.0, "42P01");
    assert_eq!(stage.refusal("SHOW CLUSTER SETTING a.b").await.1, "unknown setting: \"a.b\"");
    let id: i64 = stage.text("SELECT unique_rowid()").await.parse().unwrap();
    assert!(id > 1 << 58);
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_list_jobs_with_their_own_columns() {
    for (version, has_readable) in [("24.3.9", false), ("25.1.0", true)] {
        let stage = Stage::with(CrdbOptions { version: version.into(), ..CrdbOptions::default() }).await;
        stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
        let job = stage.feed("t", "updated").await;
        let mut expected = vec![
            "job_id",
            "description",
            "user_name",
            "status",
            "running_status",
            "created",
            "started",
            "finished",
            "modified",
            "high_water_timestamp",
            "readable_high_water_timestamptz",
            "error",
            "sink_uri",
            "full_table_names",
            "topics",
            "format",
        ];
        expected.retain(|name| has_readable || *name != "readable_high_water_timestamptz");
        for sql in [
            "SHOW CHANGEFEED JOBS".to_owned(),
            format!("SHOW CHANGEFEED JOB {job}"),
            "SELECT * FROM [SHOW CHANGEFEED JOBS]".to_owned(),
            format!("SELECT * FROM [SHOW CHANGEFEED JOB {job}] AS x"),
            "WITH x AS (SHOW CHANGEFEED JOBS) SELECT * FROM x".to_owned(),
        ] {
            let rows = stage.sql.query(&sql, &[]).await.unwrap();
            let names: Vec<&str> = rows[0].columns().iter().map(|column| column.name()).collect();
            assert_eq!(names, expected, "{version} {sql}");
            assert_eq!((rows[0].get::<_, i64>("job_id"), rows[0].get("format")), (job, "json"));
        }
    }
}
