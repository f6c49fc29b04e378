//! What applications do at the source, and what must hold on the target at every moment.
//!
//! Owns: the bank, the family and the seats: schema, transactions, invariant. Does not own: faults (`chaos`).

use fastrand::Rng;

pub(crate) struct Workload {
    pub name: &'static str,
    pub source: &'static str,
    pub target: &'static str,
    pub tables: &'static [&'static str],
    /// Rows to begin with.
    pub fill: &'static str,
    /// Statements of one transaction; the number is never used twice.
    pub transaction: fn(&mut Rng, u64) -> String,
    /// One statement, hence one snapshot: `ok`, or what is wrong. An empty target is all right.
    pub invariant: &'static str,
}

/// Transfers between accounts, each written down twice in a ledger.
pub(crate) const BANK: Workload = Workload {
    name: "bank",
    source: "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
        CREATE TABLE ledger (id bigint PRIMARY KEY, transfer bigint NOT NULL, account int NOT NULL, amount bigint NOT NULL);
        CREATE INDEX ledger_transfer ON ledger (transfer);",
    target: "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
        CREATE TABLE ledger (id bigint PRIMARY KEY, transfer bigint NOT NULL, account int NOT NULL, amount bigint NOT NULL);
        CREATE INDEX ledger_transfer ON ledger (transfer);",
    tables: &["accounts", "ledger"],
    fill: "INSERT INTO accounts SELECT i, 1000 FROM generate_series(0, 19) AS i",
    transaction: |rng, number| {
        let (from, amount) = (rng.u32(0..20), rng.u32(1..50));
        let to = (from + rng.u32(1..20)) % 20;
        let (first, second) = (number * 2, number * 2 + 1);
        format!(
            "UPDATE accounts SET balance = balance - {amount} WHERE id = {from};
             UPDATE accounts SET balance = balance + {amount} WHERE id = {to};
             INSERT INTO ledger VALUES ({first}, {number}, {from}, -{amount}), ({second}, {number}, {to}, {amount})"
        )
    },
    invariant: "SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM accounts) THEN 'ok'
        WHEN (SELECT sum(balance) FROM accounts) <> 20000 THEN 'money was made or lost'
        WHEN EXISTS (SELECT transfer FROM ledger GROUP BY transfer HAVING count(*) <> 2 OR sum(amount) <> 0)
            THEN 'half a transfer'
        WHEN EXISTS (SELECT 1 FROM accounts a LEFT JOIN (SELECT account, sum(amount) AS moved FROM ledger GROUP BY account) l
            ON l.account = a.id WHERE a.balance <> 1000 + coalesce(l.moved, 0)) THEN 'an account is not what its ledger says'
        ELSE 'ok' END",
};

/// Diamonds with a shortcut: a has b, b has c, c belongs to b's a too, d belongs to b and c. A counter at the top.
pub(crate) const FAMILY: Workload = Workload {
    name: "family",
    source: "CREATE TABLE a (id bigint PRIMARY KEY, kids int NOT NULL);
        CREATE TABLE b (id bigint PRIMARY KEY, a bigint NOT NULL REFERENCES a);
        CREATE TABLE c (id bigint PRIMARY KEY, a bigint NOT NULL REFERENCES a, b bigint NOT NULL REFERENCES b);
        CREATE TABLE d (id bigint PRIMARY KEY, b bigint NOT NULL REFERENCES b, c bigint NOT NULL REFERENCES c, up bigint REFERENCES d);
        CREATE INDEX b_a ON b (a); CREATE INDEX c_a ON c (a); CREATE INDEX c_b ON c (b); CREATE INDEX d_b ON d (b); CREATE INDEX d_c ON d (c); CREATE INDEX d_up ON d (up);",
    // Spelled as every dialect takes it.
    target: "CREATE TABLE a (id bigint PRIMARY KEY, kids int NOT NULL);
        CREATE TABLE b (id bigint PRIMARY KEY, a bigint NOT NULL, FOREIGN KEY (a) REFERENCES a (id));
        CREATE TABLE c (id bigint PRIMARY KEY, a bigint NOT NULL, b bigint NOT NULL,
            FOREIGN KEY (a) REFERENCES a (id), FOREIGN KEY (b) REFERENCES b (id));
        CREATE TABLE d (id bigint PRIMARY KEY, b bigint NOT NULL, c bigint NOT NULL, up bigint,
            FOREIGN KEY (b) REFERENCES b (id), FOREIGN KEY (c) REFERENCES c (id), FOREIGN KEY (up) REFERENCES d (id));
        CREATE INDEX b_a ON b (a); CREATE INDEX c_a ON c (a); CREATE INDEX c_b ON c (b);
        CREATE INDEX d_b ON d (b); CREATE INDEX d_c ON d (c); CREATE INDEX d_up ON d (up);",
    tables: &["a", "b", "c", "d"],
    fill: "INSERT INTO a VALUES (0, 0)",
    transaction: |rng, number| {
        let (id, old, other) = (number + 1, rng.u64(0..=number), rng.u64(0..=number));
        match rng.u8(0..10) {
            0..5 => format!(
                "INSERT INTO a VALUES ({id}, 2); INSERT INTO b VALUES ({id}, {id}), (-{id}, {id});
                 INSERT INTO c VALUES ({id}, {id}, {id}), (-{id}, {id}, -{id});
                 INSERT INTO d VALUES ({id}, {id}, {id}, NULL), (-{id}, -{id}, -{id}, {id})"
            ),
            // A branch moves to another top, and both tops count.
            5..8 => format!(
                "UPDATE a SET kids = kids - 1 WHERE id = (SELECT a FROM b WHERE id = {old});
                 UPDATE b SET a = (SELECT max(id) FROM a WHERE id <= {other}) WHERE id = {old};
                 UPDATE c SET a = (SELECT a FROM b WHERE id = {old}) WHERE b = {old};
                 UPDATE a SET kids = kids + 1 WHERE id = (SELECT a FROM b WHERE id = {old})"
            ),
            _ => format!(
                "UPDATE d SET up = NULL WHERE up IN (SELECT d.id FROM d JOIN b ON b.id = d.b WHERE b.a = {old});
                 DELETE FROM d WHERE b IN (SELECT id FROM b WHERE a = {old} AND {old} > 0);
                 DELETE FROM c WHERE a = {old} AND {old} > 0; DELETE FROM b WHERE a = {old} AND {old} > 0;
                 DELETE FROM a WHERE id = {old} AND {old} > 0"
            ),
        }
    },
    invariant: "SELECT CASE
        WHEN EXISTS (SELECT 1 FROM a WHERE kids <> (SELECT count(*) FROM b WHERE b.a = a.id)) THEN 'a counter is wrong'
        WHEN EXISTS (SELECT 1 FROM c JOIN b ON b.id = c.b WHERE c.a <> b.a) THEN 'a diamond is broken'
        WHEN EXISTS (SELECT 1 FROM b LEFT JOIN a ON a.id = b.a WHERE a.id IS NULL) THEN 'an orphan'
        ELSE 'ok' END",
};

/// Twenty seats that are never empty: swapped, rotated, handed from a guest who leaves to one who comes.
pub(crate) const SEATS: Workload = Workload {
    name: "seats",
    source: "CREATE TABLE guests (id bigint PRIMARY KEY, seat int NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED)",
    target: "CREATE TABLE guests (id bigint PRIMARY KEY, seat int NOT NULL UNIQUE)",
    tables: &["guests"],
    fill: "INSERT INTO guests SELECT i, i FROM generate_series(1, 20) AS i",
    transaction: |rng, number| {
        let (seat, other) = (rng.u32(1..21), rng.u32(1..21));
        match rng.u8(0..4) {
            0 => format!("UPDATE guests SET seat = {seat} + {other} - seat WHERE seat IN ({seat}, {other})"),
            1 => {
                let (low, high) = (seat.min(other), seat.max(other));
                format!(
                    "UPDATE guests SET seat = CASE WHEN seat = {high} THEN {low} ELSE seat + 1 END WHERE seat BETWEEN {low} AND {high}"
                )
            }
            _ => {
                format!("DELETE FROM guests WHERE seat = {seat}; INSERT INTO guests VALUES ({}, {seat})", number + 1000)
            }
        }
    },
    invariant: "SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM guests) THEN 'ok'
        WHEN EXISTS (SELECT 1 FROM guests HAVING count(*) <> 20 OR count(DISTINCT seat) <> 20 OR sum(seat) <> 210)
            THEN 'a seat is empty or taken twice'
        ELSE 'ok' END",
};
