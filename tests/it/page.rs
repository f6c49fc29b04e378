//! The page for a browser, in a browser: what it shows of a run, how it follows it, and for whom it can be read.

use crate::harness::browser::Browser;
use crate::harness::pages::{http_get, status};
use crate::harness::world::{Dialect, Ebb, World, free_port, wait_for};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

fn start(world: &World, flags: &str) -> (Ebb, String) {
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema _replicator_1 -v {flags}");
    let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--replicator-flags", &flags]).ready();
    (ebb, pages)
}

/// Opens the page, and waits until nothing holds the run up.
fn open_well(browser: &Browser, ebb: &Ebb, pages: &str) {
    browser.open(&format!("http://{pages}/"));
    browser.wait_text("h1", "Replicating, caught up", || ebb.log());
}

/// Every text that can hardly be read before what lies behind it (WCAG 2.1, AA: at least 4.5 to 1).
const PALE: &str = "
    const parts = (color) => color.match(/[0-9.]+/g).map(Number);
    const light = (color) => parts(color).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if ((parts(color)[3] ?? 1) > 0) return color;
        }
        return 'rgb(255, 255, 255)';
    };
    const texts = [...document.querySelectorAll('body *')].filter((element) => element.checkVisibility()
        && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
    return texts.filter((element) => {
        const style = getComputedStyle(element);
        const color = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
        const [low, high] = [light(color), light(behind(element))].sort((one, other) => one - other);
        return (high + 0.05) / (low + 0.05) < 4.5;
    }).map((element) => element.textContent);";
const OVERFLOW: &str = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";

pub(crate) fn can_be_read(browser: &Browser) {
    for theme in ["light", "dark"] {
        for width in [1200, 360] {
            browser.look(width, theme);
            assert_eq!(browser.script(PALE), serde_json::json!([]), "{theme}");
            assert_eq!(browser.script(OVERFLOW), 0, "no part is wider than {width}");
        }
    }
}

pub(crate) fn no_complaints(browser: &Browser) {
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_page_follows_the_run_without_being_loaded_again() {
    let world = World::new("page_follows", TABLE);
    let (ebb, pages) = start(&world, "");
    world.source("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    world.wait_equal(&ebb, &["t"]);
    let browser = Browser::start();
    browser.look(1200, "light");
    open_well(&browser, &ebb, &pages);
    assert_eq!(browser.script("return window.opened = 1"), 1);
    // What the page says is what the run says.
    let line = browser.text("#line");
    for part in ["behind ", "0 refused", "not verified", "safe to cut back: NO, not verified"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    assert_eq!(browser.text("#answer"), "NO");
    let reasons = status(&pages)["reasons"].clone();
    for reason in reasons.as_array().expect("a list") {
        for word in ["text", "id", "next"] {
            let word = reason[word].as_str().expect("text");
            assert!(browser.text("#reasons").contains(word), "{word:?} is not shown");
        }
    }
    // Comparing tables is no step to mend a run that is well.
    assert_eq!(browser.script("return document.getElementById('step').hidden"), true);
    assert!(browser.text("#numbers").contains("Last error or warning"));
    let applied = || browser.text("#numbers").contains("Rows applied\n5");
    world.source("INSERT INTO t VALUES (3, 'a'), (4, 'b'), (5, 'c')");
    wait_for("five rows", || browser.text("#numbers"), applied);
    let charts = || browser.script("return document.querySelectorAll('figure svg .curve').length") == 3;
    wait_for("three charts", || ebb.log(), charts);
    assert_eq!(browser.script("return window.opened"), 1);
    no_complaints(&browser);
    // Sixty minutes of it, with a gap in which nothing is known.
    browser.script(
        "trend = { unix_seconds: [], lag_seconds: [], rows_per_second: [], staged_bytes: [] };
         for (let at = 0; at < 720; at += 1) {
             trend.unix_seconds.push(1_700_000_000 + at * 5);
             trend.lag_seconds.push(at > 300 && at < 340 ? null : Math.abs(at - 400) * 0.7);
             trend.rows_per_second.push(1200 + 300 * Math.sin(at / 30));
             trend.staged_bytes.push(at * 4_000_000);
         }
         ask = () => {}; drawAll();",
    );
    let axes =
        browser.script("return [...document.querySelectorAll('svg text')].map((text) => text.textContent).join(', ')");
    for label in ["min, 0, 2.5, 5, 60 min ago, 30 min ago, now", "rows/s, 0, 1,000, 2,000, 60", "GiB, 0, 2.5, 5, 60"] {
        assert!(axes.as_str().is_some_and(|axes| axes.contains(label)), "{label:?} is not in {axes}");
    }
    assert_eq!(browser.script("return document.querySelectorAll('#lag_seconds .curve').length"), 2);
    browser.picture("well-light");
    browser.look(1200, "dark");
    browser.picture("well-dark");
    // What the run does not count yet is shown once it does, as text.
    browser.script(
        "window.show = ((show) => (status) => show({ shown: { ...status.shown,
             tables: { rows: [['public.<b>t</b>', '12', '10', '2', '3', '2026-11-27T03:00:00Z', 'none', 'not verified']], more: '' },
             history: { rows: [['2026-11-27T03:00:00Z', 'start', 'the run began']], more: 'and 3 more' } } }))(window.show)",
    );
    browser.wait_text("#section_tables", "public.<b>t</b>", || ebb.log());
    browser.wait_text("#section_history", "the run began", || ebb.log());
    can_be_read(&browser);
    browser.look(360, "light");
    browser.picture("tables-phone");
    browser.look(1200, "light");
    browser.picture("tables-light");
    ebb.stop();
    browser.wait_text("#stale", "ebb does not answer", String::new);
    browser.wait_text("h1", "Not known; it was: Replicating, caught up", String::new);
    can_be_read(&browser);
    browser.look(1200, "light");
    browser.picture("stale");
    browser.script("document.body.style.setProperty('--muted', '#bbbbbb')");
    assert_ne!(browser.script(PALE), serde_json::json!([]), "what is pale is found");
}

#[test]
fn what_holds_the_run_up_is_shown() {
    let world = World::with_own_target(Dialect::Postgres, "page_trouble", TABLE, TABLE);
    let (ebb, pages) = start(&world, "");
    let browser = Browser::start();
    browser.look(1200, "light");
    open_well(&browser, &ebb, &pages);
    world.server().kill9().expect("a signal");
    world.source("INSERT INTO t VALUES (1, 'a')");
    browser.wait_text("h1", "The target takes no rows", || ebb.log());
    assert_eq!(browser.script("return document.body.dataset.health"), "bad");
    let next = browser.text("#next");
    assert!(next.starts_with("ebb explain EBB-T"), "{next}");
    assert!(browser.text("#findings").contains(&next), "{}", browser.text("#findings"));
    // What a screen reader is told, once and not every second.
    browser.wait_text("#said", "The target takes no rows", || ebb.log());
    browser.picture("target-down");
    world.server().restart().expect("the target starts");
    browser.wait_text("h1", "Replicating, caught up", || ebb.log());
    wait_for("a look at the changefeed", || ebb.log(), || status(&pages)["changefeed"]["job"].is_i64());
    let job = status(&pages)["changefeed"]["job"].to_string();
    world.source(&format!("PAUSE JOB {job}"));
    browser.wait_text("h1", "The changefeed is paused", || ebb.log());
    browser.wait_text("#reasons", "nothing arrives", || ebb.log());
    browser.wait_text("#next", &format!("RESUME JOB {job}"), || ebb.log());
    no_complaints(&browser);
    world.source(&format!("RESUME JOB {job}"));
    browser.wait_text("h1", "Replicating, caught up", || ebb.log());
    ebb.stop();
}

/// Of the statement that lets the target take the row.
const MEND: &str = "ALTER COLUMN \"v\" TYPE text";

#[test]
fn the_key_of_a_refused_row_is_not_shown() {
    let target = "CREATE TABLE t (id text PRIMARY KEY, v varchar(3))";
    let world = World::with_schemas("page_refused", "CREATE TABLE t (id text PRIMARY KEY, v text)", target);
    let (ebb, pages) = start(&world, "--on-row-error wait --disableAuthentication");
    world.source("INSERT INTO t VALUES ('confidential', 'long')");
    let browser = Browser::start();
    browser.look(360, "light");
    browser.open(&format!("http://{pages}/"));
    browser.wait_text("h1", "A row is refused", || ebb.log());
    let findings = browser.text("#findings");
    for part in
        ["table public.t", "database's code 22001", "The log and /_/status name the row", "any caller may write", MEND]
    {
        assert!(findings.contains(part), "{part:?} is not in {findings}");
    }
    assert!(status(&pages)["waiting"]["key"].as_str().is_some_and(|key| key.contains("confidential")));
    assert!(!browser.script("return document.documentElement.outerHTML").to_string().contains("confidential"));
    let event = browser
        .script("return new Promise((done) => { new EventSource('_/events').onmessage = ({ data }) => done(data); })");
    assert!(event.to_string().contains("a row is refused") && !event.to_string().contains("confidential"), "{event}");
    assert!(!http_get(&pages, "/").contains("confidential"));
    can_be_read(&browser);
    browser.look(360, "light");
    no_complaints(&browser);
    browser.picture("refused-phone-light");
    browser.look(360, "dark");
    browser.picture("refused-phone-dark");
    world.source("DELETE FROM t");
    browser.wait_text("h1", "Replicating, caught up", || ebb.log());
    // A hint that quotes the key: it is the name of the column.
    world.source("INSERT INTO t VALUES ('v', 'long')");
    let key = || status(&pages)["waiting"]["key"].clone();
    wait_for("the other row", || ebb.log(), || key().as_str().is_some_and(|key| key.contains("id=v")));
    assert!(status(&pages)["waiting"]["hint"].as_str().is_some_and(|hint| hint.contains(MEND)));
    browser.wait_text("#findings", "see the log", || ebb.log());
    let html = http_get(&pages, "/");
    assert!(html.contains("A row is refused") && !html.contains("ALTER TABLE"), "{html}");
    world.source("DELETE FROM t");
    browser.wait_text("h1", "Replicating, caught up", || ebb.log());
    ebb.stop();
}

/// The same facts, from the server alone.
#[test]
fn without_scripts_the_page_is_complete() {
    let world = World::new("page_plain", TABLE);
    let (ebb, pages) = start(&world, "");
    world.source("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    world.wait_equal(&ebb, &["t"]);
    let browser = Browser::without_scripts();
    browser.look(800, "light");
    let open = || {
        browser.open(&format!("http://{pages}/"));
        browser.text("body")
    };
    wait_for("the state", || ebb.log(), || open().contains("Replicating, caught up"));
    let page = open();
    for part in ["0 refused", "Safe to cut back: NO", "sequences-not-checked", "Rows applied\n2", "; most ", "Behind"] {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
    // It loads itself again.
    world.source("INSERT INTO t VALUES (3, 'c')");
    browser.wait_text("#numbers", "Rows applied\n3", || ebb.log());
    browser.picture("without-scripts");
    ebb.stop();
}

#[test]
fn the_keyboard_reaches_everything_in_order() {
    let world = World::new("page_keyboard", TABLE);
    let (ebb, pages) = start(&world, "");
    let browser = Browser::start();
    browser.look(1200, "light");
    open_well(&browser, &ebb, &pages);
    // Between the two, the tables of tables and of events, which may be wider than the window.
    let expected = ["#main", "", "", "_/status", "metrics", "_/trend"];
    let focused = expected.map(|_| {
        browser.press_tab();
        let outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle");
        assert_eq!(outline, "solid", "where the focus is can be seen");
        browser.script("return document.activeElement.getAttribute('href')")
    });
    assert_eq!(focused.each_ref().map(|href| href.as_str().unwrap_or_default()), expected);
    // Landmarks, one first heading, a name for every part, and a language.
    let structure = "return [document.querySelectorAll('header, main, footer').length, document.querySelectorAll('h1').length, \
        [...document.querySelectorAll('section')].every((part) => document.getElementById(part.getAttribute('aria-labelledby'))), \
        document.documentElement.lang, [...document.querySelectorAll('table')].every((table) => table.caption)]";
    assert_eq!(browser.script(structure), serde_json::json!([3, 1, true, "en", true]));
    ebb.stop();
}
