// What a run has learned: the map of its embeddings with the rows behind the marks, and what some queries find.

const isText = (modality) => modality === "text" || modality.startsWith("report");
const picturesOf = (map) => ({ images: {}, texts: {}, ...D.pictures[map.data] });

function showing(map, row, modality) {  // the row's picture or text, else its number
  const { images, texts } = picturesOf(map);
  if (isText(modality) && texts[row] !== undefined) return h("span", { class: "clip", title: texts[row] }, texts[row]);
  if (!isText(modality) && images[row]) return h("img", { src: images[row], alt: `${modality} of row ${row}`, loading: "lazy" });
  return h("span", null, `${modality} of row ${row}`);
}

function mapOf(run) {
  const map = run.map, title = h("h3", null, "Map of the embeddings");
  if (!map) return [title, h("p", { class: "note" }, "No map was recorded: it needs two modalities and a finished run.")];
  const rows = D.pool[map.rows], labels = labelsOf(map), view = { only: null, pairs: false };
  const host = h("div", { "data-draw": "" }), card = h("div", { class: "card", "aria-live": "polite" });
  const hint = h("p", { class: "note" }, "Point at a mark for its row; or focus the map and use the arrow keys.");
  const show = (i) => card.replaceChildren(...(i === null ? [hint] : cardOf(map, rows[i], labels.text(i))));
  host.drawIt = () => drawMap(host, { map, run, rows, labels, view, show });
  const only = (c) => {
    view.only = view.only === c ? null : c;
    labels.classes.forEach((one, i) => toggles[i].setAttribute("aria-pressed", String(one === view.only)));
    host.drawIt();
  };
  const toggles = labels.classes.map((c) => h("button", { type: "button", "aria-pressed": "false", title: "show only these",
    onclick: () => only(c) }, h("i", { style: `background:${labels.color(c)}` }), labels.name(c)));
  const sign = (side) => s("svg", { width: 12, height: 12, "aria-hidden": "true" },
    s("path", { d: markOf(side, 6, 6, 4.5), fill: map.label ? "#5a6773" : KINDS[side] }));
  show(null);
  return [title,
    h("div", { class: "legend" }, map.pair.map((m, side) => h("span", null, sign(side), m)),
      toggle("join all partners", false, (v) => { view.pairs = v; host.drawIt(); })),
    map.label ? h("div", { class: "legend" }, h("b", null, map.label.name), toggles,
      labels.rest && h("span", null, h("i", { style: `background:${GRAY}` }), labels.rest)) : "",
    h("div", { class: "map" }, host, card),
    h("p", { class: "note" }, `Two principal components of both modalities together, ${plural(rows.length, "row")}: `
      + "what is near here may be far apart in all dimensions.")];
}

function labelsOf(map) {  // the classes that have a color: as many as there are colors, the most frequent ones
  if (!map.label) return { classes: [], rest: "", at: () => null, of: (i, side) => KINDS[side], text: () => "" };
  const values = D.pool[map.label.values], count = new Map();
  for (const v of values) if (v !== null && v >= 0) count.set(v, (count.get(v) || 0) + 1);
  const classes = [...count.keys()].sort((p, q) => count.get(q) - count.get(p)).slice(0, KINDS.length).sort((p, q) => p - q);
  const colors = new Map(classes.map((v, i) => [v, KINDS[i]])), color = (v) => colors.get(v) ?? GRAY;
  const name = (v) => (v === null || v < 0 ? "unknown" : map.label.names[v] ?? `class ${v}`), others = count.size - classes.length;
  const unknown = values.some((v) => v === null || v < 0);
  const rest = [others > 0 && plural(others, "other class").replace("classs", "classes"), unknown && "unknown"].filter(Boolean).join(", ");
  return { classes, color, name, rest, at: (i) => values[i], of: (i) => color(values[i]),
    text: (i) => `${map.label.name}: ${name(values[i])}` };
}

function cardOf(map, row, label) {
  const text = picturesOf(map).texts[row];
  return [h("p", null, h("b", null, `row ${row}`), label ? `, ${label}` : ""),
    ...map.pair.filter((m) => !isText(m)).map((m) => h("p", null, showing(map, row, m))),
    text === undefined ? "" : h("p", null, text)];
}

function markOf(side, x, y, r) {  // circle or triangle, of about equal area
  const [a, b] = [x, y].map((v) => +v.toFixed(1));
  return side === 0 ? `M${a - r},${b}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`
    : `M${a},${b - 1.3 * r}l${1.25 * r},${2.1 * r}h${-2.5 * r}Z`;
}

function drawMap(host, { map, run, rows, labels, view, show }) {
  const width = Math.max(host.clientWidth, 280), height = Math.min(420, width * 0.85), edge = 14;
  const xy = map.pair.map((m) => map.xy[m]), all = xy.flat();
  const low = [0, 1].map((k) => Math.min(...all.map((p) => p[k]))), high = [0, 1].map((k) => Math.max(...all.map((p) => p[k])));
  // one scale: distances compare
  const unit = Math.min((width - 2 * edge) / (high[0] - low[0] || 1), (height - 2 * edge) / (high[1] - low[1] || 1));
  const at = ([x, y]) => [width / 2 + (x - (low[0] + high[0]) / 2) * unit, height / 2 - (y - (low[1] + high[1]) / 2) * unit];
  const points = xy.map((part) => part.map(at)), link = s("g", { "pointer-events": "none" });
  const faded = (i) => view.only !== null && labels.at(i) !== view.only;
  const line = (i, more) => s("line", { x1: points[0][i][0], y1: points[0][i][1], x2: points[1][i][0], y2: points[1][i][1], ...more });
  const dots = points.map((part, side) => part.map(([x, y], i) => s("path", { class: "mark", d: markOf(side, x, y, 3.6),
    fill: labels.of(i, side),
    "fill-opacity": 0.8, stroke: "#fff", "stroke-width": 0.6, opacity: faded(i) ? 0.08 : 1 })));
  const pairs = view.pairs ? rows.map((_, i) => line(i, { stroke: labels.of(i, 0), "stroke-width": 0.8, opacity: faded(i) ? 0.03 : 0.35 }))
    : [];
  const svg = s("svg", { width, height, tabindex: 0, role: "img",
    "aria-label": `map of ${map.pair.join(" and ")} of ${run.run}; arrow keys step through ${plural(rows.length, "row")}` },
    pairs, dots, link);
  let current = null;
  const mark = (i) => {
    if (i === current) return;
    current = i;
    show(i);
    link.replaceChildren(line(i, { stroke: "#111", "stroke-width": 1.6 }),
      ...[0, 1].map((side) => s("path", { d: markOf(side, ...points[side][i], 6), fill: labels.of(i, side), stroke: "#111",
        "stroke-width": 1.6 })));
  };
  svg.addEventListener("pointermove", (e) => {
    const box = svg.getBoundingClientRect(), [mx, my] = [e.clientX - box.left, e.clientY - box.top];
    let [best, found] = [144, null];
    points.forEach((part) => part.forEach(([x, y], i) => {
      const away = (x - mx) ** 2 + (y - my) ** 2;
      if (away < best && !faded(i)) [best, found] = [away, i];
    }));
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

// ---- retrieval ------------------------------------------------------------------------------------------------------

function retrievalOf(run) {
  const map = run.map;
  if (!map || !map.retrieval.length) return [];
  const starts = [...new Set(map.retrieval.map((q) => q.from))], host = h("div"), other = (m) => map.pair.find((p) => p !== m) ?? m;
  const draw = (from) => host.replaceChildren(...map.retrieval.filter((q) => q.from === from).map((q) => queryOf(map, q, other(from))));
  draw(starts[0]);
  return [h("h3", null, "What some queries find"),
    h("div", { class: "controls" }, chooser("direction", starts.map((m) => [m, `${m} to ${other(m)}`]), starts[0], draw),
      h("span", { class: "note" }, "Nearest first, with cosines; framed in green: the query's own partner.")), host];
}

function queryOf(map, query, to) {
  const place = query.found.findIndex(([row]) => row === query.query);
  const said = `row ${query.query}: its own ${to} is ${place < 0 ? `not among these ${query.found.length}` : `number ${place + 1}`}`;
  const hits = query.found.map(([row, cosine]) => h("li", { class: row === query.query ? "right" : null },
    h("span", null, isNumber(cosine) ? cosine.toFixed(2) : "–", " "), h("em", null, row === query.query ? "right" : ""),
      showing(map, row, to)));
  return h("div", { class: "query" }, h("div", { class: "own" }, showing(map, query.query, query.from), h("small", null, said)),
    h("ol", { class: `hits ${isText(to) ? "texts" : ""}`, "aria-label": `found for row ${query.query}` }, hits));
}
