// The panel of one run: its setting, values, curve, the map of its embeddings, and what some queries find.

let cameFrom = null;  // where the focus returns to
const curveShown = { key: "loss", log: false };  // kept from run to run

function openRun(run, from) {
  const panel = byId("detail");
  if (panel.hidden) cameFrom = from || document.activeElement;
  opened = run;
  tip("");
  panel.hidden = false;
  panel.replaceChildren(topOf(run), ...partsOf(run));
  panel.scrollTop = 0;
  for (const draw of panel.querySelectorAll("[data-draw]")) draw.drawIt();  // figures need the width that they have in the page
  panel.querySelector("h2").focus({ preventScroll: true });
  look(looked);
}

function closeRun() {
  byId("detail").hidden = true;
  opened = null;
  tip("");
  look(null);
  if (cameFrom && cameFrom.isConnected) cameFrom.focus({ preventScroll: true });
}

function topOf(run) {
  const seen = ordered.filter((r) => passes[r.i]), at = seen.indexOf(run);
  const go = (to, text, label) => h("button", { type: "button", "aria-label": label, disabled: !seen[to], onclick: () => openRun(seen[to]) }, text);
  return h("div", { class: "top" }, h("h2", { id: "detail-title", tabindex: -1 }, run.run), go(at < 0 ? -1 : at - 1, "previous", "previous run of the table"),
    go(at < 0 ? 0 : at + 1, "next", "next run of the table"), h("button", { type: "button", id: "close", onclick: closeRun }, "close"));
}

function partsOf(run) {
  const facts = [["state", h("span", { class: `state ${run.state}` }, run.state)], ...Object.entries(run.axes).map(([k, v]) => [k, shown(v)]), ["seed", run.seed],
    ["steps", run.step ? run.step.toLocaleString("en-US") : "–"], ["time (h:m:s)", duration(run.seconds)], ...(run.tries > 1 ? [["tries", run.tries]] : [])];
  return [h("dl", { class: "axes" }, facts.map(([k, v]) => h("div", null, h("dt", null, k), h("dd", null, v)))),
    run.error && h("div", { class: "error-box", role: "note" }, h("b", null, "It failed: "), run.error), ...valuesOf(run), ...curvePart(run), ...mapPart(run), ...retrievalPart(run)].filter(Boolean);
}

function valuesOf(run) {
  const have = METRICS.filter((m) => run.values[METRIC.get(m)]), controls = Object.keys(run.controls);
  if (!have.length) return [h("h3", null, "Values"), h("p", { class: "note" }, "This run has no results.")];
  const row = (m) => {
    const [value, low, high, n] = run.values[METRIC.get(m)], text = columnFormat([value, low, high]);
    return h("tr", null, h("td", { class: "text" }, breakable(m)), h("td", null, value === null ? "NaN" : text(value)), h("td", { class: "text" }, low === null || high === null ? "–" : `[${text(low)}, ${text(high)}]`),
      h("td", null, n ? n.toLocaleString("en-US") : "–"), controls.map((c) => h("td", { class: "faint" }, text(run.controls[c][METRIC.get(m)]))));
  };
  return [h("h3", null, "Values, with 95 % intervals over test cases"), h("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "values of the run" }, h("table", null,
    h("thead", null, h("tr", null, h("th", { class: "text" }, "metric"), h("th", null, "value"), h("th", { class: "text" }, "interval"), h("th", null, "n"), controls.map((c) => h("th", null, c)))), h("tbody", null, have.map(row))))];
}

function curvePart(run) {
  const keys = curveKeys([run]);
  if (!keys.length) return [h("h3", null, "Learning curve"), h("p", { class: "note" }, "No curve was recorded.")];
  if (!keys.includes(curveShown.key)) curveShown.key = keys.includes("loss") ? "loss" : keys[0];
  const host = h("div", { class: "plot-host", "data-draw": "" }), others = RUNS.filter((r) => r.tag === run.tag && r !== run);
  host.drawIt = () => {
    const line = (r, more) => ({ steps: pooled(r, "step"), values: pooled(r, curveShown.key), name: r.run, ...more });
    const gray = others.filter((r) => pooled(r, curveShown.key)).map((r) => line(r, { color: GRAY, width: 1.1 }));
    plotLines(host, [...gray, line(run, { color: "#0072b2", width: 2.2 })], { label: `${curveShown.key} of ${run.run}`, yName: curveShown.key, height: 220, log: curveShown.log });
  };
  return [h("h3", null, "Learning curve"), h("div", { class: "controls" }, chooser("curve", keys.map((k) => [k, k]), curveShown.key, (v) => { curveShown.key = v; host.drawIt(); }),
    toggle("log y", curveShown.log, (v) => { curveShown.log = v; host.drawIt(); }), others.length ? h("span", { class: "note" }, "Gray: the other seeds of this setting.") : null), host];
}

// ---- what a row of the data shows -----------------------------------------------------------------------------------

const picturesOf = (map) => D.pictures[map.data] || { images: {}, texts: {} };
const isText = (modality) => modality === "text" || modality.startsWith("report");

function showing(map, row, modality) {  // the row's picture or text, else its number
  const { images = {}, texts = {} } = picturesOf(map), text = texts[row];
  if (isText(modality)) return text !== undefined ? h("span", { class: "clip", title: text }, text) : h("span", null, `row ${row}`);
  return images[row] ? h("img", { src: images[row], alt: `${modality} of row ${row}`, loading: "lazy" }) : h("span", null, `${modality} of row ${row}`);
}

function mapPart(run) {
  const map = run.map;
  if (!map) return [h("h3", null, "Map of the embeddings"), h("p", { class: "note" }, "No map was recorded: it needs two modalities and a finished run.")];
  const [a, b] = map.pair, rows = D.pool[map.rows], xy = map.pair.map((m) => map.xy[m]), label = map.label && { ...map.label, values: D.pool[map.label.values] };
  const count = new Map();
  for (const v of label ? label.values : []) if (v >= 0) count.set(v, (count.get(v) || 0) + 1);
  const classes = [...count.keys()].sort((p, q) => count.get(q) - count.get(p)).slice(0, KINDS.length).sort((p, q) => p - q);
  const colors = new Map(classes.map((v, i) => [v, KINDS[i]])), colorOf = (i) => (label ? colors.get(label.values[i]) ?? GRAY : null);
  const nameOf = (v) => (v < 0 ? "unknown" : label.names[v] ?? `class ${v}`);
  const host = h("div", { "data-draw": "" }), card = h("div", { class: "card", "aria-live": "polite" }), view = { only: null, pairs: false };
  const hint = () => card.replaceChildren(h("p", { class: "note" }, "Point at a mark for its row; or focus the map and step through the rows with the arrow keys."));
  host.drawIt = () => drawMap(host, { map, rows, xy, view, a, b, run, colorOf: (i, side) => colorOf(i) ?? KINDS[side],
    faded: (i) => view.only !== null && label.values[i] !== view.only, show: (i) => {
      if (i === null) return hint();
      const { texts = {} } = picturesOf(map);
      card.replaceChildren(h("p", null, h("b", null, `row ${rows[i]}`), label ? `, ${label.name}: ${nameOf(label.values[i])}` : ""), ...map.pair.filter((m) => !isText(m)).map((m) => h("p", null, showing(map, rows[i], m))),
        texts[rows[i]] !== undefined ? h("p", null, texts[rows[i]]) : h("p", { class: "note" }, "its text is not in this report"));
    } });
  const toggles = classes.map((v) => h("button", { type: "button", "aria-pressed": "false", title: "show only these", onclick: (e) => {
    view.only = view.only === v ? null : v;
    for (const button of toggles) button.setAttribute("aria-pressed", String(button === e.currentTarget && view.only !== null));
    host.drawIt();
  } }, h("i", { style: `background:${colors.get(v)}` }), nameOf(v)));
  const rest = label && label.values.some((v) => !colors.has(v)) ? h("span", null, h("i", { style: `background:${GRAY}` }), count.size > classes.length ? `${count.size - classes.length} others, or unknown` : "unknown") : null;
  const sign = (side) => s("svg", { width: 12, height: 12, "aria-hidden": "true" }, s("path", { d: markOf(side, 6, 6, 4.5), fill: label ? "#5a6773" : KINDS[side] }));
  hint();
  return [h("h3", null, "Map of the embeddings"), h("div", { class: "legend" }, h("span", null, sign(0), a), h("span", null, sign(1), b), toggle("join all partners", false, (v) => { view.pairs = v; host.drawIt(); })),
    label ? h("div", { class: "legend" }, h("b", null, label.name), toggles, rest) : null, h("div", { class: "map" }, host, card),
    h("p", { class: "note" }, `Two principal components of both modalities together, ${plural(rows.length, "row")}: near here may be far apart in all dimensions.`)];
}

function markOf(side, x, y, r) {  // circle or triangle of about equal area
  return side === 0 ? `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z` : `M${x},${y - 1.3 * r}l${1.25 * r},${2.1 * r}h${-2.5 * r}Z`;
}

function drawMap(host, { map, rows, xy, view, a, b, run, colorOf, faded, show }) {
  const width = Math.max(host.clientWidth, 280), height = Math.min(420, width * 0.85), all = xy.flat(), edge = 14;
  const [low, high] = [0, 1].map((k) => all.map((p) => p[k])).reduce((m, v) => [[...m[0], Math.min(...v)], [...m[1], Math.max(...v)]], [[], []]);
  const unit = Math.min((width - 2 * edge) / (high[0] - low[0] || 1), (height - 2 * edge) / (high[1] - low[1] || 1));  // one scale, so that distances compare
  const at = ([x, y]) => [width / 2 + (x - (low[0] + high[0]) / 2) * unit, height / 2 - (y - (low[1] + high[1]) / 2) * unit];
  const points = xy.map((part) => part.map(at)), link = s("g", { "pointer-events": "none" });
  const dots = points.map((part, side) => part.map(([x, y], i) => s("path", { class: "mark", d: markOf(side, x, y, 3.6), fill: colorOf(i, side), "fill-opacity": 0.8, stroke: "#fff", "stroke-width": 0.6, opacity: faded(i) ? 0.08 : 1 })));
  const pairs = view.pairs && points[0].map(([x, y], i) => s("line", { x1: x, y1: y, x2: points[1][i][0], y2: points[1][i][1], stroke: colorOf(i, 0), "stroke-width": 0.8, opacity: faded(i) ? 0.03 : 0.35 }));
  const svg = s("svg", { width, height, tabindex: 0, role: "img", style: "background:#f8fafb;border-radius:4px;display:block",
    "aria-label": `map of the embeddings of ${a} and ${b} of ${run.run}; arrow keys step through ${plural(rows.length, "row")}` }, pairs || [], dots.flat(), link);
  let current = null;
  const mark = (i) => {
    if (i === current) return;
    current = i;
    show(i);
    if (i === null) return link.replaceChildren();
    const [[x1, y1], [x2, y2]] = [points[0][i], points[1][i]];
    link.replaceChildren(s("line", { x1, y1, x2, y2, stroke: "#111", "stroke-width": 1.6 }), ...[0, 1].map((side) => s("path", { d: markOf(side, ...points[side][i], 6), fill: colorOf(i, side), stroke: "#111", "stroke-width": 1.6 })));
  };
  svg.addEventListener("pointermove", (e) => {
    const box = svg.getBoundingClientRect(), [mx, my] = [e.clientX - box.left, e.clientY - box.top];
    let [best, found] = [144, null];
    points.forEach((part) => part.forEach(([x, y], i) => { const away = (x - mx) ** 2 + (y - my) ** 2; if (away < best && !faded(i)) { best = away; found = i; } }));
    if (found !== null) mark(found);
  });
  svg.addEventListener("keydown", (e) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (!move) return;
    e.preventDefault();
    mark(((current ?? (move > 0 ? -1 : 0)) + move + rows.length) % rows.length);
  });
  host.replaceChildren(svg);
}

function retrievalPart(run) {
  const map = run.map;
  if (!map || !map.retrieval.length) return [];
  const starts = [...new Set(map.retrieval.map((q) => q.from))], host = h("div"), other = (m) => map.pair.find((p) => p !== m) ?? m, view = { from: starts[0] };
  const draw = () => host.replaceChildren(...map.retrieval.filter((q) => q.from === view.from).map((q) => {
    const to = other(q.from), place = q.found.findIndex(([row]) => row === q.query);
    return h("div", { class: "query" }, h("div", { class: "own" }, showing(map, q.query, q.from), h("small", null, `row ${q.query}: its own ${to} is ${place < 0 ? `not among the ${q.found.length}` : `number ${place + 1}`}`)),
      h("ol", { class: `hits ${isText(to) ? "texts" : ""}`, "aria-label": `found for row ${q.query}` }, q.found.map(([row, cosine]) => h("li", { class: row === q.query ? "right" : "" },
        h("span", null, shown(cosine === null ? null : cosine.toFixed(2)), " "), h("em", null, row === q.query ? "right" : ""), showing(map, row, to)))));
  }));
  draw();
  return [h("h3", null, "What some queries find"), h("div", { class: "controls" }, chooser("from", starts.map((m) => [m, `${m} to ${other(m)}`]), view.from, (v) => { view.from = v; draw(); }),
    h("span", { class: "note" }, "Nearest first, with cosines; framed in green: the query's own partner.")), host];
}
