//! Zone configurations: `ALTER TABLE … CONFIGURE ZONE USING gc.ttlseconds = …` and the SHOW statements that tell them.
//!
//! Owns: their grammar. Does not own: their effect (`schema/zone.sql`). No history is collected as garbage because of them.

use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::show;

/// The cursor stands behind `ALTER TABLE`; `None` for every other statement.
pub(crate) fn alter_table(mut cursor: Cursor<'_>) -> Option<Result<String, Failure>> {
    let table = show::table(&mut cursor).ok()?;
    cursor.accept(&["CONFIGURE", "ZONE", "USING"]).then(|| configure(&table, cursor))
}

fn configure(table: &str, mut cursor: Cursor<'_>) -> Result<String, Failure> {
    let name = cursor.name()?.join(".");
    if name != "gc.ttlseconds" {
        return Err(Failure::unsupported(format!("CONFIGURE ZONE USING {name}")));
    }
    cursor.expect_symbol('=')?;
    let seconds = cursor.value()?;
    cursor.expect_end()?;
    let seconds: u32 = seconds.parse().map_err(|_| Failure::syntax(&seconds))?;
    Ok(format!("CALL crdb_internal.configure_zone({table}::regclass, {seconds})"))
}

/// What answers `SHOW ZONE CONFIGURATION FROM TABLE …` or `SHOW PARTITIONS FROM TABLE …`; the cursor stands behind SHOW.
pub(crate) fn source(cursor: &mut Cursor<'_>) -> Result<Option<String>, Failure> {
    for (words, function) in [
        (&["ZONE", "CONFIGURATION", "FROM", "TABLE"][..], "show_zone_configuration"),
        (&["PARTITIONS", "FROM", "TABLE"][..], "show_partitions"),
    ] {
        if cursor.accept(words) {
            return Ok(Some(format!("crdb_internal.{function}({}::regclass)", show::table(cursor)?)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::rewrite::rewrite;
    use crate::version::Version;

    #[test]
    fn zones_are_configured_and_shown() {
        let version = Version::parse("25.2.1").unwrap();
        for (sql, expected) in [
            (
                "ALTER TABLE public.t CONFIGURE ZONE USING gc.ttlseconds = 600",
                "CALL crdb_internal.configure_zone('\"public\".\"t\"'::regclass, 600)",
            ),
            (
                "SHOW ZONE CONFIGURATION FROM TABLE t",
                "SELECT * FROM crdb_internal.show_zone_configuration('\"t\"'::regclass)",
            ),
            ("SHOW PARTITIONS FROM TABLE t", "SELECT * FROM crdb_internal.show_partitions('\"t\"'::regclass)"),
        ] {
            assert_eq!(rewrite(sql, &version).unwrap(), expected);
        }
        let other = rewrite("ALTER TABLE t CONFIGURE ZONE USING num_replicas = 3", &version).unwrap();
        assert!(other.contains("crdb_internal.fail"), "{other}");
    }
}
