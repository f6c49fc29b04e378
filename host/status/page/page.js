// Keeps the page up to date: what the server says every second, and the charts of the last hour.
//
// It judges nothing and spells nothing but the axes: every sentence comes from the server, and stands in the HTML as well.
"use strict";

const OLD_MS = 5000;
const AGAIN_MS = 5000;
const TREND_MS = 5000;
// What the charts may span, in minutes.
const SPANS = [5, 15, 30, 60];
// Longer than this between two samples, nothing is known in between.
const GAP = 20;

const byId = (id) => document.getElementById(id);
const shownBefore = new Map();
let heard = Date.now();
let judged = null;
let trend = null;

function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function within(name, className, children) {
  const made = make(name, className);
  made.append(...children);
  return made;
}

// Leaves alone what has not changed: a reader may have selected it, or a screen reader be in the middle of it.
function update(key, value, show) {
  const text = JSON.stringify(value);
  if (shownBefore.get(key) === text) return;
  shownBefore.set(key, text);
  show(value);
}

function write(id, text) {
  update(id, text, () => { byId(id).textContent = text ?? ""; });
}

function fill(id, list, item) {
  update(id, list, () => byId(id).replaceChildren(...(list ?? []).map(item)));
}

function row(cells) {
  const [name, ...others] = cells;
  const head = make("th", "", name);
  head.scope = "row";
  return within("tr", "", [head, ...others.map((cell) => make("td", "", cell))]);
}

function reason({ text, id, next }) {
  const what = within("p", "what", [`${text} `, make("span", "id", id)]);
  return within("li", "", [what, make("p", "fix", next)]);
}

function finding({ title, text, fix }) {
  return within("li", "", [make("p", "what", title), make("p", "", text), make("p", "fix", fix)]);
}

function show({ shown }) {
  document.body.dataset.health = shown.health;
  document.body.dataset.safe = shown.safe ? "yes" : "no";
  document.title = `${shown.headline} · ebb`;
  write("at", shown.at);
  write("headline", shown.headline);
  fill("line", shown.line, (part) => make("li", "", part));
  write("answer", shown.safe ? "YES" : "NO");
  write("next", shown.next);
  byId("step").hidden = shown.next === null;
  fill("reasons", shown.reasons, reason);
  fill("findings", shown.findings, finding);
  byId("section_findings").hidden = shown.findings.length === 0;
  fill("numbers", shown.numbers, ([name, value]) => within("div", "", [make("dt", "", name), make("dd", "", value)]));
  for (const { id, text } of shown.trend) {
    update(`trend ${id}`, text, () => { byId(id).querySelector(".text").textContent = text; });
  }
  for (const name of ["tables", "history"]) {
    byId(`section_${name}`).hidden = shown[name] === null;
    fill(name, shown[name]?.rows, row);
    write(`more_${name}`, shown[name]?.more);
  }
  say(shown);
}

// A screen reader hears the line when the judgement changes, and not every second.
function say(shown) {
  const now = JSON.stringify([shown.health, shown.reasons.map(({ id }) => id)]);
  if (judged !== null && judged !== now) byId("said").textContent = `${shown.headline}: ${shown.line.join(", ")}`;
  judged = now;
}

function listen() {
  const events = new EventSource("_/events");
  events.onmessage = ({ data }) => {
    heard = Date.now();
    show(JSON.parse(data));
    age();
  };
  events.onerror = () => {
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, AGAIN_MS);
  };
}

// What ebb has not confirmed for some seconds must not look like the present.
function age() {
  const isOld = Date.now() - heard > OLD_MS;
  const stale = byId("stale");
  if (stale.hidden === !isOld) return;
  stale.hidden = !isOld;
  document.body.classList.toggle("old", isOld);
  stale.textContent = isOld ? "ebb does not answer: what stands here is old. See whether it runs; its log says why it ended." : "";
  if (!isOld) return;
  document.title = "No answer · ebb";
  byId("headline").textContent = `Not known; it was: ${byId("headline").textContent}`;
  // The next answer writes it again.
  shownBefore.delete("headline");
}

// The charts.

const SECONDS = [[1, "s"], [60, "min"], [3600, "h"]];
const BYTES = [[1, "B"], [1024, "KiB"], [1024 ** 2, "MiB"], [1024 ** 3, "GiB"]];
const SERIES = { lag_seconds: SECONDS, rows_per_second: [[1, "rows/s"]], staged_bytes: BYTES };
const SIDE = { left: 44, right: 6, top: 24, bottom: 20 };

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The top of an axis: 1, 2 or 5 with zeros, in the largest unit that leaves whole numbers.
function scale(most, units) {
  const [size, unit] = units.findLast(([size]) => most >= size * 2) ?? units[0];
  const value = Math.max(most / size, 1e-9);
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((step) => step * power >= value) ?? 10;
  const top = Math.max(step * power, 1);
  return { top: top * size, unit, spell: (part) => (top * part).toLocaleString("en", { maximumFractionDigits: 1 }) };
}

function points(times, values, x, y) {
  const pieces = [];
  let before = null;
  times.forEach((time, at) => {
    const value = values[at];
    if (value === null) { before = null; return; }
    if (before === null || time - before > GAP) pieces.push([]);
    pieces.at(-1).push([x(time), y(value)]);
    before = time;
  });
  return pieces;
}

// One point alone is a dot.
function path(piece) {
  return (piece.length === 1 ? [piece[0], piece[0]] : piece).map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function draw(id) {
  const figure = byId(id);
  const times = trend.unix_seconds;
  const values = trend[id];
  const width = Math.max(figure.clientWidth, 160);
  const height = 152;
  const last = times.at(-1) ?? 0;
  const minutes = SPANS.find((span) => span * 60 >= last - (times[0] ?? last)) ?? SPANS.at(-1);
  const most = values.reduce((most, value) => Math.max(most, value ?? 0), 0);
  const { top, unit, spell } = scale(most, SERIES[id]);
  const floor = height - SIDE.bottom;
  const x = (time) => SIDE.left + (1 - (last - time) / (minutes * 60)) * (width - SIDE.left - SIDE.right);
  const y = (value) => floor - (value / top) * (floor - SIDE.top);
  const caption = figure.querySelector("figcaption");
  caption.id = `caption_${id}`;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": caption.id });
  chart.append(svg("text", { x: 0, y: 11 }, unit));
  for (const part of [0, 0.5, 1]) {
    const at = y(top * part);
    chart.append(svg("line", { class: "grid", x1: SIDE.left, x2: width - SIDE.right, y1: at, y2: at }));
    chart.append(svg("text", { x: SIDE.left - 6, y: at + 4, "text-anchor": "end" }, spell(part)));
  }
  for (const [part, anchor] of [[1, "start"], [0.5, "middle"], [0, "end"]]) {
    const text = part ? `${minutes * part} min ago` : "now";
    chart.append(svg("text", { x: x(last - minutes * part * 60), y: height - 5, "text-anchor": anchor }, text));
  }
  for (const piece of points(times, values, x, y)) {
    const outline = path(piece);
    chart.append(svg("path", { class: "area", d: `${outline}L${piece.at(-1)[0]} ${floor}L${piece[0][0]} ${floor}Z` }));
    chart.append(svg("path", { class: "curve", d: outline }));
  }
  figure.querySelector("svg")?.remove();
  figure.append(chart);
}

function drawAll() {
  if (trend) Object.keys(SERIES).forEach(draw);
}

async function ask() {
  try {
    const answer = await fetch("_/trend", { cache: "no-store" });
    if (answer.ok) trend = await answer.json();
    drawAll();
  } catch {
    // The banner says that ebb does not answer.
  }
}

listen();
ask();
setInterval(age, 1000);
setInterval(() => { if (!document.hidden) ask(); }, TREND_MS);
addEventListener("resize", drawAll);
