//! Names that need care: quotes, cases, reserved words, other schemas.

use crate::harness::world::World;

#[test]
fn quoted_and_mixed_case_names() {
    let long = "l".repeat(63);
    let schema = format!(
        "CREATE TABLE \"Order Lines\" (\"Id\" int PRIMARY KEY, \"select\" text, \"a\"\"b\" text, \"naïve\" text);
         CREATE TABLE \"user\" (\"order\" int PRIMARY KEY, \"{long}\" text);"
    );
    let world = World::new("names_quoted", &schema);
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO \"Order Lines\" VALUES (1, 's', 'q', 'n'), (2, 't', 'r', 'm')");
    world.source("DELETE FROM \"Order Lines\" WHERE \"Id\" = 1");
    world.source("INSERT INTO \"user\" VALUES (1, 'long')");
    world.wait_equal(&ebb, &["\"Order Lines\"", "\"user\""]);
    ebb.stop();
}

#[test]
fn cases_differ_between_the_sides() {
    let world = World::with_schemas(
        "names_case",
        "CREATE TABLE orders (id int PRIMARY KEY, note text)",
        "CREATE TABLE \"Orders\" (\"ID\" int PRIMARY KEY, \"Note\" text)",
    );
    let ebb = world.fetch(&[]).ready();
    world.source("INSERT INTO orders VALUES (1, 'a'), (2, 'b'); DELETE FROM orders WHERE id = 1");
    world.wait_target(&ebb, "SELECT \"ID\" || \"Note\" FROM \"Orders\"", "2b");
    ebb.stop();
    let refused = world.fetch(&["--case-sensitive"]).failure();
    assert!(
        refused.contains("public.orders is missing on the target") && refused.contains("error_code\":\"EBB-K020\""),
        "{refused}"
    );
}

#[test]
fn tables_of_several_schemas_with_one_name() {
    let world = World::new(
        "names_schemas",
        "CREATE SCHEMA audit; CREATE TABLE t (id int PRIMARY KEY, v text);
         CREATE TABLE audit.t (id int PRIMARY KEY, v text)",
    );
    let ebb = world.fetch(&["--schema-filter", "^(public|audit)$"]).ready();
    world.source("BEGIN; INSERT INTO t VALUES (1, 'public'); INSERT INTO audit.t VALUES (1, 'audit'); COMMIT");
    world.wait_equal(&ebb, &["t", "audit.t"]);
    assert_eq!(world.target("SELECT v FROM audit.t").trim(), "audit");
    ebb.stop();
}

#[test]
fn filters_choose_the_tables() {
    let schema = "CREATE TABLE employees (id int PRIMARY KEY); CREATE TABLE payments (id int PRIMARY KEY);
                  CREATE TABLE payments_old (id int PRIMARY KEY)";
    let world = World::with_schemas("names_filters", schema, schema);
    let filters = ["--table-filter", "employees|payments", "--table-exclusion-filter", "_old$"];
    let ebb = world.fetch(&filters).ready();
    world.source(
        "INSERT INTO payments_old VALUES (1); INSERT INTO payments VALUES (1); INSERT INTO employees VALUES (1)",
    );
    world.wait_equal(&ebb, &["employees", "payments"]);
    assert_eq!(world.target("SELECT count(*) FROM payments_old").trim(), "0");
    let jobs = world.source("SELECT description FROM [SHOW CHANGEFEED JOBS]");
    assert!(jobs.contains("employees, ") && !jobs.contains("payments_old"), "{jobs}");
    ebb.stop();
    let none = world.fetch(&["--table-filter", "nothing"]).failure();
    assert!(
        none.contains("--table-filter (now 'nothing')")
            && none.contains("error_code\":\"EBB-S023\"")
            && none.contains("public.payments_old"),
        "{none}"
    );
}
