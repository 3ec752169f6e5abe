// Means over seeds as dots and intervals, a row a setting, and the comparisons with the baseline.

const MOST = 40;  // rows before a button shows the rest
const FEW = 4;    // with fewer seeds an interval says little: their values are shown instead
const ROW = 25;   // pixels

const baselines = new Set(D.comparisons.map((c) => c.baseline));
const tested = [...new Set(D.comparisons.map((c) => c.metric))];
const byTag = new Map();
for (const run of RUNS) byTag.set(run.tag, [...(byTag.get(run.tag) || []), run]);

function startResults() {
  const section = byId("results"), controls = section.querySelector(".controls"), body = section.querySelector(".body");
  const metrics = METRICS.filter((m) => D.summary.some((one) => one.metric === m));
  const names = [...new Set(RUNS.flatMap((r) => Object.keys(r.controls)))];
  const view = { metric: metrics[0], order: "declared", control: names.includes("untrained") ? "untrained" : names[0], all: false,
    every: false };
  const draw = () => {
    drawDots(body, view, draw);
    drawCompared(section.querySelector(".compared"), view, draw);
  };
  const set = (name) => (value) => { view[name] = value; draw(); };
  const pairs = (list) => list.map((one) => [one, one]);
  if (metrics.length) {
    controls.append(chooser("metric", pairs(metrics), view.metric, set("metric")),
      chooser("order", [["declared", "as declared"], ["mean", "by mean"]], view.order, set("order")));
    if (names.length > 1) controls.append(chooser("control", pairs(names), view.control, set("control")));
  }
  drawsWhenFiltered(section, draw);
  resized(body, draw);
}

function tagsLeft() {  // of a tag without runs nothing is known that a filter could ask
  const inside = new Set(left.map((r) => r.tag));
  return (tag) => inside.has(tag) || !byTag.has(tag);
}

function controlOf(tag, view) {  // the mean of the runs of a setting that have the control
  const at = METRIC.get(view.metric), values = (byTag.get(tag) || []).map((r) => r.controls[view.control]?.[at]).filter(isNumber);
  return values.length ? values.reduce((a, b) => a + b) / values.length : null;
}

function settingColumns(rows, axesOf) {  // a column an axis; the tag where no axis varies
  const axes = VARYING.filter((a) => rows.some((row) => a in axesOf(row)));
  if (!axes.length) return [{ head: "setting", text: true, wrap: true, cell: (row) => row.tag }];
  return axes.map((a) => ({ head: breakable(a), name: a, text: !dimension(`axis ${a}`).numeric, cell: (row) => shown(axesOf(row)[a]) }));
}

function showMore(rows, view, draw, what) {
  if (view.every || rows.length <= MOST) return "";
  const all = h("button", { type: "button", class: "more", onclick: () => { view.every = true; draw(); } },
    `show all ${plural(rows.length, what)}`);
  return h("p", null, all, h("span", { class: "note" }, ` the first ${MOST} are shown`));
}

// ---- dots -----------------------------------------------------------------------------------------------------------

function drawDots(body, view, draw) {
  if (!view.metric) {
    const any = RUNS.some((r) => r.state === "finished");
    return body.replaceChildren(h("p", { class: "empty" }, any ? "No metric was summarized."
      : "No run is finished yet, so there are no means."));
  }
  const every = D.summary.filter((one) => one.metric === view.metric), inside = tagsLeft();
  const rows = every.filter((one) => inside(one.tag)).map((one) => ({ ...one, control: controlOf(one.tag, view),
    interval: one.n >= FEW && one.low !== null && one.high !== null }));
  if (!rows.length) return body.replaceChildren(h("p", { class: "empty" }, "No setting passes the filter."));
  if (view.order === "mean") rows.sort((a, b) => (b.mean ?? -Infinity) - (a.mean ?? -Infinity));

  const numbers = rows.flatMap((r) => [...r.values, r.control, ...(r.interval ? [r.low, r.high] : [])]).filter(isNumber);
  const text = columnFormat(numbers), setting = settingColumns(rows, (row) => row.axes);
  // the plot gets the width that the other columns leave: about 7.6 pixels a character, and 430 for the numbers
  const wide = setting.map((c) => Math.max((c.name || "").length, ...rows.map((r) => c.cell(r).length)) * 7.6 + 20);
  const others = wide.reduce((a, b) => a + b, 0) + (baselines.size ? 85 : 0) + 430;
  const plot = dotScale(numbers, Math.max(240, Math.min(640, body.clientWidth - others)));
  const columns = [...setting,
    baselines.size && { head: "", text: true, cell: (row) => (baselines.has(row.tag) ? h("b", { class: "base" }, "baseline") : "") },
    { head: plot.head, kind: "plot", cell: (row) => dotPlot(row, plot, text) },
    { head: "mean", cell: (row) => text(row.mean) },
    { head: "95 % interval", text: true, cell: (row) => (row.interval ? interval(row, text)
      : h("span", { class: "faint" }, plural(row.n, "seed"))) },
    { head: "seeds", cell: (row) => row.n },
    { head: "sd seeds", title: "standard deviation between seeds", cell: (row) => text(row.sd_seed) },
    { head: "se test", title: "standard error that a single run has by its sample of test cases", cell: (row) => text(row.sd_test) }];
  body.replaceChildren(
    tableOf(columns, view.every ? rows : rows.slice(0, MOST), { class: "dots", label: `${view.metric} over seeds`,
      mark: (row) => (baselines.has(row.tag) ? "base" : "") }),
    showMore(rows, view, draw, "setting"), h("p", { class: "note" }, captionOf(rows, every.length, view)));
}

function dotScale(numbers, width) {
  const [low, high] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1], pad = (high - low) * 0.03 || 0.5;
  const x = (v) => 8 + ((v - low + pad) / (high - low + 2 * pad)) * (width - 16), ticks = niceTicks(low, high, Math.floor(width / 90));
  const head = s("svg", { width, height: 22, "aria-hidden": "true" }, ticks.map((v) =>
    s("text", { x: x(v), y: 16, "text-anchor": "middle" }, shown(v))));
  return { x, width, head, grid: () => ticks.map((v) => s("line", { class: "grid", x1: x(v), x2: x(v), y1: 0, y2: ROW })) };
}

function dotPlot(row, { x, width, grid }, text) {
  const base = baselines.has(row.tag), color = base ? "#d55e00" : "#0072b2", y = ROW / 2;
  const vertical = (at, from, to, more) => s("line", { x1: x(at), x2: x(at), y1: from, y2: to, ...more });
  const label = `${row.tag}: ${row.mean === null ? "no value" : `mean ${text(row.mean)}`}`
    + `${row.interval ? `, 95 % interval ${text(row.low)} to ${text(row.high)}` : ""}, ${plural(row.n, "seed")}`;
  let mark = null;
  if (row.mean !== null && base) mark = s("path", { d: `M${x(row.mean)},${y - 6.5}l6.5,6.5l-6.5,6.5l-6.5,-6.5Z`, fill: color });
  else if (row.mean !== null && row.interval) mark = s("circle", { cx: x(row.mean), cy: y, r: 4.5, fill: color });
  else if (row.mean !== null) mark = vertical(row.mean, y - 7, y + 7, { stroke: color, "stroke-width": 2.4 });
  return s("svg", { width, height: ROW, role: "img", "aria-label": label }, s("title", null, label), grid(),
    row.control !== null && vertical(row.control, 0, ROW, { class: "control", stroke: "#333", "stroke-width": 1.4,
      "stroke-dasharray": "4 3" }),
    row.interval && s("line", { class: "interval", x1: x(row.low), x2: x(row.high), y1: y, y2: y, stroke: color, "stroke-width": 2 }),
    row.values.filter(isNumber).map((v) => s("circle", { class: "seed", cx: x(v), cy: y, r: 3, fill: "#fff", "fill-opacity": 0.6,
      stroke: color })), mark);
}

function captionOf(rows, all, view) {
  const few = rows.filter((r) => r.n < FEW).length, parts = [`${view.metric}: open dots are seeds.`];
  if (few < rows.length) parts.push("Filled: mean and 95 % interval over seeds (Student's t).");
  const who = few === rows.length ? "The settings" : `${few} of the settings`;
  if (few) parts.push(`${who} have fewer than ${FEW} seeds: a bar marks their mean, and no interval is drawn.`);
  if (baselines.size) parts.push("Diamond: baseline.");
  if (rows.some((r) => r.control !== null)) parts.push(`Dashed: the control ${view.control}.`);
  if (rows.length < all) parts.push(`${rows.length} of ${all} settings pass the filter; a setting's mean always takes all of its seeds.`);
  return parts.join(" ");
}

// ---- comparisons ----------------------------------------------------------------------------------------------------

function drawCompared(host, view, draw) {
  const say = (text) => h("p", { class: "empty" }, text);
  const nothing = "Nothing is compared: the study names no baseline, or too few of its runs are finished.";
  if (!D.comparisons.length) return host.replaceChildren(say(nothing));
  const inside = tagsLeft(), outside = !view.all && !tested.includes(view.metric);
  const rows = D.comparisons.filter((c) => (view.all || c.metric === view.metric) && inside(c.tag));
  const switcher = tested.length > 1 || outside ? toggle(`all ${plural(tested.length, "metric")} of the family`, view.all,
    (v) => { view.all = v; draw(); }) : "";
  // what is true of all rows is said once
  const notes = rows.map((r) => r.note.split("; ").filter(Boolean));
  const common = rows.length > 1 ? notes[0].filter((part) => notes.every((of) => of.includes(part))) : [];
  const none = outside ? `${view.metric} is not of the family that is compared: ${tested.slice(0, 4).join(", ")}.`
    : "No comparison passes the filter.";
  host.replaceChildren(h("div", { class: "controls" }, switcher),
    common.length ? h("p", { class: "note" }, `All of them: ${common.join("; ")}.`) : "",
    rows.length ? tableOf(comparisonColumns(rows, view, common), view.every ? rows : rows.slice(0, MOST),
      { id: "comparisons", label: "comparisons with the baseline" }) : say(none),
    showMore(rows, view, draw, "comparison"),
    h("p", { class: "note" }, "Differences are paired by seed. p: sign flips of the pairs; Holm's correction is over all "
      + `${plural(D.comparisons.length, "comparison")} of ${plural(tested.length, "metric")}. `
      + "Detectable: the smallest difference that this many seeds find in 80 % of studies."));
}

function comparisonColumns(rows, view, common) {
  const axesOf = (tag) => byTag.get(tag)?.[0].axes ?? {}, number = (...keys) => columnFormat(rows.flatMap((r) => keys.map((k) => r[k])));
  const difference = number("difference", "low", "high"), effect = number("effect"), detectable = number("detectable");
  const rest = (c) => c.note.split("; ").filter((part) => !common.includes(part)).join("; ");
  const signed = (v) => (v > 0 ? "+" : "") + difference(v);
  const p = (v) => (!isNumber(v) ? "–" : v < 1e-3 ? v.toExponential(1) : v.toFixed(3));
  const apart = (c) => {  // the baseline by what it has different
    const differ = VARYING.filter((a) => axesOf(c.tag)[a] !== axesOf(c.baseline)[a]);
    return differ.map((a) => (differ.length > 1 ? `${a} ` : "") + shown(axesOf(c.baseline)[a])).join(", ") || c.baseline;
  };
  return [view.all && { head: "metric", text: true, cell: (c) => breakable(c.metric) }, ...settingColumns(rows, (c) => axesOf(c.tag)),
    { head: "against", text: true, cell: (c) => h("span", { title: c.baseline }, apart(c)) },
    { head: "difference", cell: (c) => signed(c.difference) },
    { head: "95 % interval", text: true, cell: (c) => interval(c, signed) },
    { head: "effect g", title: "Hedges' g: the mean difference over its deviation, corrected for few seeds",
      cell: (c) => effect(c.effect) },
    { head: "p", cell: (c) => p(c.p) },
    { head: "p Holm", title: "p after Holm's correction", cell: (c) => p(c.p_holm) },
    { head: "", kind: "stars", cell: (c) => c.stars },
    { head: "seeds", cell: (c) => c.n },
    { head: "detectable", title: "the smallest difference that this many seeds find in 80 % of studies",
      cell: (c) => detectable(c.detectable) },
    rows.some((c) => rest(c)) && { head: "note", text: true, wrap: true, cell: rest }];
}
