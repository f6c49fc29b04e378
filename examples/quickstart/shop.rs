//! A small shop: its tables, its customers who never stop buying, and the comparison of both sides.
//!
//! Owns: SQL only. Does not own: where it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ebb_crdb::Crdb;
use ebb_sdk::DatabaseUrl;
use ebb_sdk::tls::{SslMode, TlsSettings};
use ebb_servers::Certs;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Result;
use crate::target::Target;

pub(crate) const SCHEMA: &str = "
CREATE TYPE order_state AS ENUM ('new', 'paid', 'sent');
CREATE TABLE customers (
    id uuid PRIMARY KEY, email text NOT NULL, tags text[] NOT NULL, preferences jsonb, since timestamptz NOT NULL);
CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL, stock bigint NOT NULL);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer uuid NOT NULL REFERENCES customers, state order_state NOT NULL,
    placed timestamptz NOT NULL, total numeric(12,2) NOT NULL);
CREATE TABLE order_lines (
    order_id bigint REFERENCES orders, line bigint, product bigint NOT NULL REFERENCES products,
    amount bigint NOT NULL, price numeric(10,2) NOT NULL, PRIMARY KEY (order_id, line));";

const TABLES: [&str; 4] = ["customers", "products", "orders", "order_lines"];
const PRODUCTS: u64 = 50;

/// A connection of the application to CockroachDB, encrypted and verified.
pub(crate) async fn connect(crdb: &Crdb, certs: &Certs) -> Result<Client> {
    let url = DatabaseUrl::parse(&crdb.url("defaultdb", "root"))?;
    let tls = TlsSettings { root_cert: Some(certs.ca()), ..TlsSettings::new(SslMode::VerifyFull) };
    let mut config = Config::new();
    config.host(&url.host).port(crdb.addr().port()).user("root").dbname("defaultdb");
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls.client_config()?)).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// What was sold.
#[derive(Default, Clone, Copy)]
pub(crate) struct Sold {
    pub transactions: u64,
    pub rows: u64,
}

/// Two clients that buy at the same time, until they are stopped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    clients: [JoinHandle<Result<(Client, Sold), tokio_postgres::Error>>; 2],
}

impl Writer {
    pub(crate) fn start(first: Client, second: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let buy = |client, number| tokio::spawn(sell(client, number, Arc::clone(&stop)));
        Self { clients: [buy(first, 1), buy(second, 2)], stop }
    }

    /// Lets the transactions in hand end, and gives a connection back.
    pub(crate) async fn stop(self) -> Result<(Client, Sold)> {
        self.stop.store(true, Ordering::Relaxed);
        let [first, second] = self.clients;
        let ((client, one), (_, two)) = (first.await??, second.await??);
        Ok((client, Sold { transactions: one.transactions + two.transactions, rows: one.rows + two.rows }))
    }
}

async fn sell(client: Client, number: u64, stop: Arc<AtomicBool>) -> Result<(Client, Sold), tokio_postgres::Error> {
    let mut sold = Sold::default();
    let mut dice = Dice(number);
    if number == 1 {
        client.batch_execute(&format!(
            "INSERT INTO products SELECT i, 'Product ' || i, i * 1.37, 1000000 FROM generate_series(1, {PRODUCTS}) AS i"
        )).await?;
        sold = Sold { transactions: 1, rows: PRODUCTS };
    } else {
        // The second client comes once there is something to buy.
        while client.query_one("SELECT count(*) FROM products", &[]).await?.get::<_, i64>(0) == 0 {}
    }
    while !stop.load(Ordering::Relaxed) {
        let order = sold.transactions * 2 + number;
        let (sql, rows) = transaction(order, &mut dice);
        client.batch_execute(&sql).await?;
        sold.transactions += 1;
        sold.rows += rows;
    }
    Ok((client, sold))
}

/// A customer, an order and its lines; sometimes an older order moves on, or is cancelled altogether.
fn transaction(order: u64, dice: &mut Dice) -> (String, u64) {
    let lines = dice.below(4) + 1;
    let product = |line: u64, seed: u64| (seed + line) % PRODUCTS + 1;
    let seed = dice.below(PRODUCTS);
    let mut sql = format!(
        "BEGIN;
         INSERT INTO customers VALUES ('00000000-0000-4000-8000-{order:012}', 'customer{order}@example.com',
             ARRAY['new', 'tag \"{seed}\"'], '{{\"newsletter\": {}, \"language\": \"de\"}}', now());
         INSERT INTO orders VALUES ({order}, '00000000-0000-4000-8000-{order:012}', 'new', now(), {lines}9.99);",
        dice.below(2) == 0
    );
    for line in 0..lines {
        let product = product(line, seed);
        sql.push_str(&format!(
            "INSERT INTO order_lines VALUES ({order}, {line}, {product}, {}, {product}.50);",
            dice.below(9) + 1
        ));
    }
    let mut rows = 2 + lines;
    // Only orders of the same client, so that the two never wait for each other.
    let earlier = order.saturating_sub(2 * (dice.below(20) + 1));
    match dice.below(5) {
        0 => {
            sql.push_str(&format!(
                "DELETE FROM order_lines WHERE order_id = {earlier}; DELETE FROM orders WHERE id = {earlier};"
            ));
            rows += 2;
        }
        1 | 2 => {
            sql.push_str(&format!("UPDATE orders SET state = 'paid', total = total + 0.01 WHERE id = {earlier};"));
            rows += 1;
        }
        _ => {}
    }
    sql.push_str("COMMIT;");
    (sql, rows)
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        // The constants of Knuth's MMIX generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// One side at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub rows: u64,
    /// When the newest order was placed, in ms of Unix time; 0 before the first.
    pub newest_ms: u64,
}

impl State {
    /// One row of two columns in the words of a dialect, given how it writes the newest moment.
    pub(crate) fn query(newest: &str) -> String {
        let counts = TABLES.map(|table| format!("(SELECT count(*) FROM {table})")).join(" + ");
        format!("SELECT concat_ws('|', {counts}, (SELECT coalesce({newest}, 0) FROM orders))")
    }

    pub(crate) fn parse(line: &str) -> Result<Self> {
        let (rows, newest) = line.trim().split_once('|').ok_or_else(|| format!("no two columns: {line}"))?;
        Ok(Self { rows: rows.parse()?, newest_ms: newest.parse()? })
    }
}

pub(crate) const NEWEST: &str = "CAST(floor(extract(epoch FROM max(placed)) * 1000) AS bigint)";

/// At the source.
pub(crate) async fn state(source: &Client) -> Result<State> {
    let row = source.query_one(&State::query(NEWEST), &[]).await?;
    State::parse(row.get(0))
}

/// One table on both sides.
pub(crate) struct Comparison {
    pub name: &'static str,
    pub source_rows: usize,
    pub target_rows: usize,
    pub differing_rows: usize,
}

impl Comparison {
    pub(crate) fn is_equal(&self) -> bool {
        self.differing_rows == 0 && self.source_rows == self.target_rows && self.source_rows > 0
    }

    pub(crate) fn verdict(&self) -> String {
        if self.is_equal() { "yes".into() } else { format!("no, {} rows differ", self.differing_rows) }
    }
}

/// Compares every row of every table as text.
pub(crate) async fn compare(source: &Client, target: &Target) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    source.batch_execute("SET TimeZone = 'UTC'").await?;
    for name in TABLES {
        let [at_source, on_target] = target.shown(name);
        let messages = source.simple_query(&at_source).await?;
        let mut source_rows: Vec<String> = messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect();
        let answer = target.sql(&on_target)?;
        let mut target_rows: Vec<&str> = answer.lines().collect();
        source_rows.sort_unstable();
        target_rows.sort_unstable();
        let same = source_rows.iter().zip(&target_rows).filter(|(a, b)| a == *b).count();
        comparisons.push(Comparison {
            name,
            source_rows: source_rows.len(),
            target_rows: target_rows.len(),
            differing_rows: source_rows.len().max(target_rows.len()) - same,
        });
    }
    Ok(comparisons)
}
