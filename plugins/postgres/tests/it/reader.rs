//! A session that reads the target at one instant, and compares rows given as JSON with it.

use ebb_postgres::{Postgres, Session};
use ebb_sdk::{
    Block, Catalog, ColumnIndex, Compared, ConnectOptions, Dialect, Frozen, Join, Operation, Progress, RowBuffer,
    Session as _,
};

use crate::world::{FEED, World, connect, table_of};
use crate::writer::push;

pub(crate) struct Reader {
    pub session: Session,
    pub catalog: Catalog,
    pub progress: Progress,
}

impl Reader {
    /// Of a world that a writer has taken over, as it is now.
    pub(crate) async fn new(world: &World) -> Self {
        Self::of(world, world.session().await).await
    }

    /// Columns of these names may lose digits.
    pub(crate) async fn rounding(world: &World, allow_rounding: &[&str]) -> Self {
        let allow_rounding = allow_rounding.iter().map(|&name| name.to_owned()).collect();
        let options = ConnectOptions { allow_rounding, ..world.options() };
        Self::of(world, Postgres::connect(&options).await.expect("a session")).await
    }

    async fn of(world: &World, session: Session) -> Self {
        let mut freezing = connect(&world.url()).await.expect("a session");
        let frozen = freezing.freeze(FEED).await.expect("a snapshot");
        let reader = Self::join(session, &frozen).await;
        freezing.thaw().await.expect("the end of the freezing");
        reader
    }

    pub(crate) async fn join(mut session: Session, frozen: &Frozen) -> Self {
        let catalog = session.describe().await.expect("a catalog");
        let join = Join { feed: FEED.into(), snapshot: frozen.snapshot.clone() };
        let progress = session.join(&join).await.expect("the snapshot");
        Self { session, catalog, progress }
    }

    /// Compares rows of JSON values.
    pub(crate) async fn compare(&mut self, table: &str, columns: &[&str], rows: &[&[&str]]) -> Compared {
        let table = table_of(&self.catalog, table);
        let columns: Vec<ColumnIndex> = columns.iter().map(|name| table.column(name).expect("a column")).collect();
        let mut buffer = RowBuffer::new(columns.len());
        rows.iter().copied().flatten().for_each(|json| push(&mut buffer, json));
        let block = Block::new(table, Operation::Upsert, &columns, buffer.cells(), buffer.text());
        self.session.compare(block).await.expect("a comparison")
    }
}

/// What was found, `2 missing; 3 v: found, expected`.
pub(crate) fn shown(compared: &Compared, catalog: &Catalog, table: &str) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "NULL".into());
    let missing = compared.missing.iter().map(|row| format!("{row} missing"));
    let different = compared.different.iter().flat_map(|difference| {
        difference.columns.iter().map(|column| {
            let name = &table_of(catalog, table).columns[column.column.place()].name;
            format!("{} {name}: {}, {}", difference.row, text(&column.found), text(&column.expected))
        })
    });
    missing.chain(different).collect::<Vec<_>>().join("; ")
}
