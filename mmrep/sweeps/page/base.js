"use strict";
// What all sections share: the data, elements, numbers as text, dimensions of runs, colors, and the one filter.
// Texts of the data reach the page as text nodes only, so nothing in a tag, an error or a report can become markup.

const D = JSON.parse(document.getElementById("data").textContent);
const RUNS = D.runs, METRICS = D.metrics, STATES = ["finished", "failed", "stopped", "waiting"];
const METRIC = new Map(METRICS.map((name, i) => [name, i]));
const byId = (id) => document.getElementById(id);

function element(space, name, attributes, children) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return made;
}
const h = (name, attributes, ...children) => element(null, name, attributes, children);
const s = (name, attributes, ...children) => element("http://www.w3.org/2000/svg", name, attributes, children);

// ---- numbers as text ------------------------------------------------------------------------------------------------

function shown(value) {  // an axis' value, or any number, as short as it can be without loss of 4 digits
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e6)) return String(+value.toPrecision(4)).includes("e")
    ? (+value.toPrecision(4)).toString().replace("e+", "e") : (+value.toPrecision(4)).toExponential().replace("e+", "e");
  return String(Number.isInteger(value) ? value : +value.toPrecision(4));
}

function columnFormat(values) {  // one number of decimals for a column, so that digits stand beneath each other
  const known = values.filter((v) => v !== null && v !== undefined && v !== 0).map(Math.abs);
  if (!known.length) return shown;
  const most = Math.max(...known), whole = values.every((v) => v === null || v === undefined || Number.isInteger(v));
  if (most >= 1e6 || most < 1e-3) return (v) => (v === null || v === undefined ? "–" : v === 0 ? "0"
    : v.toExponential(2).replace("e+", "e"));
  const decimals = whole ? 0 : Math.max(0, Math.min(6, 3 - Math.max(0, Math.floor(Math.log10(most)) + (most >= 1 ? 1 : 0))
    + (most < 0.1 ? 1 : 0)));
  return (v) => (v === null || v === undefined ? "–" : v.toFixed(decimals).replace("-", "\u2212"));
}

const thousands = (v) => v.toLocaleString("en-US");
const isNumber = (v) => typeof v === "number";
const interval = ({ low, high }, text) => (isNumber(low) && isNumber(high) ? `[${text(low)}, ${text(high)}]` : "–");

function duration(seconds) {
  if (!seconds) return "–";
  const all = Math.round(seconds), pad = (x) => String(x).padStart(2, "0");
  return `${Math.floor(all / 3600)}:${pad(Math.floor(all / 60) % 60)}:${pad(all % 60)}`;
}

function plural(n, word) {
  return `${n.toLocaleString("en-US")} ${word}${n === 1 ? "" : "s"}`;
}

function breakable(name) {  // "retrieval/image_to_text/R@1": may break after each part, and its last part is what the eye looks for
  const parts = name.split("/"), last = parts.pop();
  return [...parts.map((p) => h("small", null, p + "/", h("wbr"))), ...last.split(/(?<=_)/).flatMap((p, i) => (i ? [h("wbr"), p] : [p]))];
}

function splitName(run) {  // a run's name, which may break between its parts
  return run.run.split(/(?<=[,/])/).flatMap((part) => [part, h("wbr")]);
}

// ---- dimensions: an axis, the seed or a metric, as a value and a place between 0 and 1 -------------------------------

function valueOf(run, metric) {
  const found = run.values[METRIC.get(metric)];
  return found ? found[0] : null;
}

function logSpaced(values) {  // sorted and distinct: steps are more even in the logarithm
  if (values.length < 2 || values[0] <= 0 || values.at(-1) / values[0] < 10) return false;
  const uneven = (x) => {
    const gaps = x.slice(1).map((v, i) => v - x[i]), mean = gaps.reduce((a, b) => a + b) / gaps.length;
    return gaps.reduce((a, g) => a + (g / mean - 1) ** 2, 0);
  };
  return values.length === 2 || uneven(values.map(Math.log)) < uneven(values);
}

function niceTicks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1), unit = 10 ** Math.floor(Math.log10(raw));
  if (!(raw > 0)) return [low];
  const step = [1, 2, 5, 10].map((m) => m * unit).find((m) => m >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k <= Math.floor(high / step + 1e-9); k++) found.push(+(k * step).toPrecision(12));
  return found;
}

function logTicks(low, high) {
  const found = [], from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
  const within = (v) => v >= low * 0.999 && v <= high * 1.001, every = Math.max(1, Math.ceil((to - from) / 8));
  for (let e = from; e <= to; e += every) for (const m of to - from > 3 ? [1] : [1, 2,
    5]) if (within(m * 10 ** e)) found.push(+(m * 10 ** e).toPrecision(6));
  return found.length > 1 ? found : [low, high];
}

const dimensions = new Map();

function dimension(key) {  // "axis lr", "metric probe/auroc", "seed" or "state"
  if (dimensions.has(key)) return dimensions.get(key);
  const kind = key.split(" ", 1)[0], name = key.slice(kind.length + 1) || kind;
  const of = { axis: (r) => r.axes[name] ?? null, metric: (r) => valueOf(r, name), seed: (r) => r.seed, state: (r) => r.state }[kind];
  const known = RUNS.map(of).filter((v) => v !== null), numeric = known.length > 0 && known.every((v) => typeof v === "number");
  const distinct = [...new Set(known)];
  const made = { key, kind, name, of, numeric, distinct };
  if (numeric) {
    distinct.sort((a, b) => a - b);
    const low = distinct[0], high = distinct.at(-1);
    made.log = kind !== "metric" && logSpaced(distinct);
    const f = made.log ? Math.log : (x) => x;
    made.place = (v) => (v === null ? null : high === low ? 0.5 : (f(v) - f(low)) / (f(high) - f(low)));
    made.value = (t) => (made.log ? Math.exp(f(low) + t * (f(high) - f(low))) : low + t * (high - low));
    made.ticks = (kind !== "metric" && distinct.length <= 8 ? distinct : made.log ? logTicks(low, high) : niceTicks(low, high, 5));
  } else {
    if (kind === "state") distinct.sort((a, b) => STATES.indexOf(a) - STATES.indexOf(b));
    const order = new Map(distinct.map((v, i) => [v, distinct.length > 1 ? i / (distinct.length - 1) : 0.5]));
    made.place = (v) => order.get(v) ?? null;
    made.ticks = distinct;
  }
  made.at = (run) => made.place(of(run));
  dimensions.set(key, made);
  return made;
}
const VARYING = D.axes.filter((a) => dimension(`axis ${a}`).distinct.length > 1 || RUNS.some((r) => r.axes[a] === null
  || r.axes[a] === undefined));

// ---- colors: Okabe and Ito's for kinds, a dark part of viridis for amounts; both read with any color vision -----------

const KINDS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#b8a800"];
const GRAY = "#b4bdc5", RAMP = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#a5db36"];
const STATE_COLORS = { finished: "#009e73", failed: "#d55e00", stopped: "#e69f00", waiting: GRAY };

function ramp(t) {
  const x = Math.min(Math.max(t, 0), 1) * (RAMP.length - 1), i = Math.min(Math.floor(x), RAMP.length - 2), f = x - i;
  const part = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  return `rgb(${[0, 1, 2].map((k) => Math.round(part(RAMP[i], k) * (1 - f) + part(RAMP[i + 1], k) * f)).join(",")})`;
}

function coloring(key) {  // {of: run -> color, legend: an element}
  const dim = dimension(key), { distinct } = dim;
  const entry = (color, text) => h("span", null, h("i", { style: `background:${color}` }), text);
  const none = RUNS.some((r) => dim.of(r) === null) ? [entry(GRAY, dim.kind === "metric" ? "no value" : "not set")] : [];
  let of, entries;
  if (dim.numeric && (dim.kind !== "seed" || distinct.length > KINDS.length)) {
    of = (run) => (dim.at(run) === null ? GRAY : ramp(dim.at(run)));
    entries = distinct.length <= 10 && dim.kind !== "metric" ? distinct.map((v) => entry(ramp(dim.place(v)), shown(v)))
      : [h("span", null, shown(distinct[0]), h("i", { class: "ramp", style: `background:linear-gradient(90deg,${RAMP})` }),
        shown(distinct.at(-1)))];
  } else {  // more kinds than colors: the rest are gray, and said to be
    const colors = new Map(distinct.slice(0, KINDS.length).map((v, i) => [v, dim.kind === "state" ? STATE_COLORS[v] : KINDS[i]]));
    of = (run) => colors.get(dim.of(run)) ?? GRAY;
    entries = [...colors].map(([v, c]) => entry(c, shown(v)));
    if (distinct.length > KINDS.length) entries.push(entry(GRAY, `${distinct.length - KINDS.length} others`));
  }
  return { of, legend: h("div", { class: "legend" }, h("b", null, dim.name), entries, none) };
}

// ---- the filter: what is typed, chosen and brushed; every section draws the runs that are left -----------------------

const filter = { text: "", picks: new Map(), brushes: new Map() };  // picks: dimension -> option, brushes: dimension -> [from, to]
let left = RUNS.slice();                                             // the runs that pass
const passes = new Uint8Array(RUNS.length).fill(1);
const drawers = [];  // {section, draw, stale}: drawn anew when `left` changes

RUNS.forEach((run, i) => {
  run.i = i;
  const axes = Object.entries(run.axes).map(([k, v]) => `${k}=${v} ${k}=${shown(v)}`);
  run.find = [run.run, run.tag, ...axes, run.state, `seed${run.seed}`, run.error].join(" ").toLowerCase();
});

function finder(word) {  // a key and a whole number (seed1, batch=6) must not find what only begins so (seed10, batch=64)
  if (!/[a-z_=]\d+$/.test(word)) return (text) => text.includes(word);
  const whole = new RegExp(word.replace(/[^\w=]/g, "\\$&") + "(?![\\d]|\\.\\d|e[-+]?\\d)");
  return (text) => whole.test(text);
}

function update() {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean).map(finder);
  const brushes = [...filter.brushes].map(([key, [from, to]]) => [dimension(key), Math.min(from, to) - 1e-9, Math.max(from, to) + 1e-9]);
  const picks = [...filter.picks.values()];
  const inside = (run) => brushes.every(([dim, from, to]) => { const t = dim.at(run); return t !== null && t >= from && t <= to; });
  left = RUNS.filter((run) => words.every((found) => found(run.find)) && picks.every((p) => p.test(run)) && inside(run));
  passes.fill(0);
  for (const run of left) passes[run.i] = 1;
  drawBar();
  for (const one of drawers) one.stale = true;
  soon();
}

// A filter must answer at once: what is in sight is drawn in the next frame, the rest when the browser has time or it is scrolled to.

function drawsWhenFiltered(section, draw) {
  const one = { section, draw, stale: true };
  drawers.push(one);
  new IntersectionObserver(soon, { rootMargin: "300px" }).observe(section);
}

const idle = window.requestIdleCallback || ((f) => setTimeout(f, 60));
let awaited = false;

function soon() {
  if (awaited) return;
  awaited = true;
  requestAnimationFrame(() => {
    awaited = false;
    const sight = drawers.filter((one) => one.stale && one.section.getBoundingClientRect().top < innerHeight
      && one.section.getBoundingClientRect().bottom > 0);
    for (const one of sight) redraw(one);
    idle(rest);
  });
}

function rest() {  // one section at a time, so that typing is never kept waiting
  const one = drawers.find((d) => d.stale);
  if (!one) return;
  redraw(one);
  if (drawers.some((d) => d.stale)) idle(rest);
}

function redraw(one) {
  one.stale = false;
  one.draw();
}
addEventListener("beforeprint", () => drawers.filter((d) => d.stale).forEach(redraw));

// ---- small parts of the page ----------------------------------------------------------------------------------------

function chooser(label, options, chosen, change) {  // options: [[value, text], ...]
  const select = h("select", { "aria-label": label, onchange: () => change(select.value) },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  return h("label", null, label, select);
}

function toggle(label, checked, change) {
  return h("label", null, h("input", { type: "checkbox", checked, onchange: (e) => change(e.target.checked) }), label);
}

function picker(label, options, chosen, change) {  // several of many names; `chosen` is a Set in use
  const boxes = options.map((name) => h("label", null, h("input", { type: "checkbox", checked: chosen.has(name), onchange: (e) => {
    if (e.target.checked) chosen.add(name); else chosen.delete(name);
    change();
  } }), h("span", null, breakable(name))));
  const find = h("input", { type: "search", placeholder: "find a metric", "aria-label": `find in ${label}`, oninput: () =>
    boxes.forEach((box, i) => { box.hidden = !options[i].toLowerCase().includes(find.value.toLowerCase()); }) });
  const made = h("details", { class: "picker" }, h("summary", { class: "button" }, label),
    h("div", null, options.length > 8 && find, h("div", { class: "list" }, boxes)));
  made.addEventListener("keydown", (e) => { if (e.key === "Escape") { made.open = false; made.firstChild.focus(); e.stopPropagation(); } });
  document.addEventListener("pointerdown", (e) => { if (!made.contains(e.target)) made.open = false; });
  return made;
}

// columns: [{head, cell(row), text?, wrap?, kind?, title?} or nothing, ...]
function tableOf(columns, rows, { label, mark, ...attributes }) {
  const kept = columns.filter(Boolean), kind = (c) => [c.kind, c.text && "text", c.wrap && "wrap"].filter(Boolean).join(" ") || null;
  const head = h("tr", null, kept.map((c) => h("th", { scope: "col", class: kind(c), title: c.title }, c.head)));
  const body = rows.map((row) => h("tr", { class: mark && mark(row) }, kept.map((c) => h("td", { class: kind(c) }, c.cell(row)))));
  return h("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": label },
    h("table", attributes, h("thead", null, head), h("tbody", null, body)));
}

function tip(text, event) {
  const box = byId("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const { clientX: x, clientY: y } = event, w = box.offsetWidth, tall = box.offsetHeight;
  box.style.left = `${Math.max(4, x + 16 + w > innerWidth ? x - w - 12 : x + 16)}px`;
  box.style.top = `${Math.max(4, y + 16 + tall > innerHeight ? y - tall - 10 : y + 16)}px`;
}

let looked = null;  // the run under the pointer, marked wherever it is drawn; else the one whose panel is open
const markers = [];

function look(run) {
  looked = run;
  for (const mark of markers) mark(looked || opened);
}
let opened = null;
