// Means over seeds as dots and intervals, a row a setting, and the comparisons with the baseline.

const MOST = 60;  // rows before a button shows the rest
const FEW = 4;  // with fewer seeds an interval says little: their values are shown instead

function startResults() {
  const section = byId("results"), controls = section.querySelector(".controls"), body = section.querySelector(".body");
  const compared = section.querySelector(".compared"), metrics = METRICS.filter((m) => D.summary.some((one) => one.metric === m));
  const baselines = new Set(D.comparisons.map((c) => c.baseline)), tested = [...new Set(D.comparisons.map((c) => c.metric))];
  const controlNames = [...new Set(RUNS.flatMap((r) => Object.keys(r.controls)))];
  const view = { metric: metrics[0], order: "declared", control: controlNames.includes("untrained") ? "untrained" : controlNames[0], all: false, every: false };
  const tagsOf = new Map();
  for (const run of RUNS) tagsOf.set(run.tag, [...(tagsOf.get(run.tag) || []), run]);

  const untrained = (tag, metric) => {  // of the runs of a setting that have the control
    const found = (tagsOf.get(tag) || []).map((r) => r.controls[view.control]?.[METRIC.get(metric)]).filter((v) => v !== null && v !== undefined);
    return found.length ? found.reduce((a, b) => a + b) / found.length : null;
  };

  const drawDots = () => {
    if (!metrics.length) return body.replaceChildren(h("p", { class: "empty" }, RUNS.some((r) => r.state === "finished") ? "No metric was summarized." : "No run is finished yet, so there are no means."));
    const inFilter = new Set(left.map((r) => r.tag)), every = D.summary.filter((one) => one.metric === view.metric);
    const rows = every.filter((one) => inFilter.has(one.tag) || !tagsOf.has(one.tag)).map((one) => ({ ...one, control: untrained(one.tag, view.metric) }));
    if (view.order === "mean") rows.sort((a, b) => (b.mean ?? -Infinity) - (a.mean ?? -Infinity));
    if (!rows.length) return body.replaceChildren(h("p", { class: "empty" }, "No setting passes the filter."));
    const axes = VARYING.filter((a) => rows.some((r) => a in r.axes)), numbers = rows.flatMap((r) => [...r.values, r.control, ...(r.n >= FEW ? [r.low, r.high] : [])]).filter((v) => v !== null);
    const known = numbers.length ? numbers : [0, 1], text = columnFormat(known), width = Math.max(220, Math.min(560, body.clientWidth - 330 - 82 * axes.length));
    const [low, high] = [Math.min(...known), Math.max(...known)], pad = (high - low) * 0.03 || 0.5, x = (v) => 8 + (v - low + pad) / (high - low + 2 * pad) * (width - 16);
    const ticks = niceTicks(low, high, Math.floor(width / 90));
    const head = s("svg", { width, height: 22, "aria-hidden": "true" }, ticks.map((v) => s("text", { x: x(v), y: 16, "text-anchor": "middle" }, shown(v))));
    const grid = () => ticks.map((v) => s("line", { class: "grid", x1: x(v), x2: x(v), y1: 0, y2: 25 }));
    body.replaceChildren(h("div", { class: "scroll", role: "region", "aria-label": `${view.metric} over seeds` }, h("table", { class: "dots" },
      h("thead", null, h("tr", null, (axes.length ? axes : ["setting"]).map((a) => h("th", { class: axes.length && dimension(`axis ${a}`).numeric ? "" : "text" }, breakable(a))), h("th", { class: "plot" }, head),
        h("th", null, "mean"), h("th", { class: "text" }, "95 % interval"), h("th", null, "seeds"), h("th", { title: "standard deviation between seeds" }, "sd seeds"),
        h("th", { title: "standard error that a single run has by its sample of test cases" }, "se test"))),
      h("tbody", null, first(rows).map((row) => dotRow(row, axes, width, x, grid, text))))), ...moreOf(rows, "setting"), caption(rows, every.length));
  };

  const first = (rows) => (view.every ? rows : rows.slice(0, MOST));
  const moreOf = (rows, what) => (first(rows).length === rows.length ? [] : [h("p", null, h("button", { type: "button", class: "more", onclick: () => { view.every = true; draw(); } },
    `show all ${plural(rows.length, what)}`), h("span", { class: "note" }, ` the first ${MOST} are shown`))]);

  const dotRow = (row, axes, width, x, grid, text) => {
    const base = baselines.has(row.tag), color = base ? "#d55e00" : "#0072b2", mid = 12.5, interval = row.n >= FEW && row.low !== null && row.high !== null;
    const label = `${row.tag}: ${row.mean === null ? "no value" : `mean ${text(row.mean)}`}` + (interval ? `, 95 % interval ${text(row.low)} to ${text(row.high)}` : "") + `, ${plural(row.n, "seed")}`;
    const mark = row.mean === null ? null : base ? s("path", { d: `M${x(row.mean)},${mid - 6.5}l6.5,6.5l-6.5,6.5l-6.5,-6.5Z`, fill: color }) : interval
      ? s("circle", { cx: x(row.mean), cy: mid, r: 4.5, fill: color }) : s("line", { x1: x(row.mean), x2: x(row.mean), y1: mid - 7, y2: mid + 7, stroke: color, "stroke-width": 2.4 });
    const plot = s("svg", { width, height: 25, role: "img", "aria-label": label }, s("title", null, label), grid(),
      row.control !== null && s("line", { x1: x(row.control), x2: x(row.control), y1: 0, y2: 25, stroke: "#333", "stroke-width": 1.4, "stroke-dasharray": "4 3" }),
      interval && s("line", { x1: x(row.low), x2: x(row.high), y1: mid, y2: mid, stroke: color, "stroke-width": 2 }),
      row.values.filter((v) => v !== null).map((v) => s("circle", { class: "seed", cx: x(v), cy: mid, r: 3, fill: "#fff", "fill-opacity": 0.6, stroke: color, "stroke-width": 1.1 })), mark);
    const names = axes.length ? axes.map((a, i) => h("td", { class: dimension(`axis ${a}`).numeric ? "" : "text" }, shown(row.axes[a]))) : [h("td", { class: "text wrap" }, row.tag)];
    if (base) names[names.length - 1].append(h("b", { class: "base", title: "what the others are compared with" }, " baseline"));
    return h("tr", { class: base ? "base" : "", "data-tag": row.tag }, names, h("td", { class: "plot" }, plot), h("td", null, text(row.mean)),
      h("td", { class: "text" }, interval ? `[${text(row.low)}, ${text(row.high)}]` : h("span", { class: "faint" }, plural(row.n, "seed"))),
      h("td", null, row.n), h("td", null, text(row.sd_seed)), h("td", null, text(row.sd_test)));
  };

  const caption = (rows, all) => {
    const few = rows.filter((r) => r.n < FEW).length, parts = [`${view.metric}: open dots are seeds.`];
    if (few < rows.length) parts.push("Filled: mean and 95 % interval over seeds (Student's t).");
    if (few) parts.push(`${few === rows.length ? "All" : few} of the settings have fewer than ${FEW} seeds: a bar marks their mean, and no interval is drawn.`);
    if (baselines.size) parts.push("Diamond: baseline.");
    if (rows.some((r) => r.control !== null)) parts.push(`Dashed: ${view.control}, at equal test cases.`);
    if (rows.length < all) parts.push(`${rows.length} of ${all} settings pass the filter; a setting's mean always takes all of its seeds.`);
    return h("p", { class: "note" }, parts.join(" "));
  };

  const drawCompared = () => {
    if (!D.comparisons.length) return compared.replaceChildren(h("p", { class: "empty" }, "Nothing is compared: the study names no baseline, or no run of it is finished."));
    const inFilter = new Set(left.map((r) => r.tag));
    const rows = D.comparisons.filter((c) => (view.all || c.metric === view.metric) && (inFilter.has(c.tag) || !tagsOf.has(c.tag)));
    const switcher = toggle(`all metrics of the family (${plural(tested.length, "metric")})`, view.all, (v) => { view.all = v; drawCompared(); });
    const family = `Differences are paired by seed. p: sign flips of the pairs; Holm's correction is over all ${plural(D.comparisons.length, "comparison")} of ${plural(tested.length, "metric")}.`
      + " Detectable: the smallest difference that this many seeds find in 80 % of studies.";
    const outside = !view.all && !tested.includes(view.metric);
    const none = h("p", { class: "empty" }, outside ? `${view.metric} is not of the family that is compared: ${tested.slice(0, 4).join(", ")}.` : "No comparison passes the filter.");
    compared.replaceChildren(h("div", { class: "controls" }, tested.length > 1 || outside ? switcher : null), ...(rows.length ? [tableOf(first(rows)), ...moreOf(rows, "comparison")] : [none]), h("p", { class: "note" }, family));
  };

  const tableOf = (rows) => {
    const of = (key) => columnFormat(rows.flatMap((r) => (Array.isArray(key) ? key.map((k) => r[k]) : [r[key]])));
    const [d, g, det] = [of(["difference", "low", "high"]), of("effect"), of("detectable")], p = (v) => (v === null ? "–" : v < 1e-3 ? v.toExponential(1) : v.toFixed(3));
    const several = baselines.size > 1, signed = (v) => (v > 0 ? "+" : "") + d(v);
    return h("div", { class: "scroll", role: "region", "aria-label": "comparisons with the baseline" }, h("table", { id: "comparisons" }, h("thead", null, h("tr", null,
      view.all && h("th", { class: "text" }, "metric"), h("th", { class: "text" }, "setting"), several && h("th", { class: "text" }, "against"), h("th", null, "difference"), h("th", { class: "text" }, "95 % interval"),
      h("th", { title: "Hedges' g: the mean difference over its deviation, corrected for few seeds" }, "effect g"), h("th", null, "p"), h("th", null, "p Holm"), h("th", { class: "text" }, ""), h("th", null, "seeds"),
      h("th", null, "detectable"), h("th", { class: "text" }, "note"))),
    h("tbody", null, rows.map((c) => h("tr", null, view.all && h("td", { class: "text" }, breakable(c.metric)), h("td", { class: "text" }, c.tag), several && h("td", { class: "text" }, c.baseline),
      h("td", null, signed(c.difference)), h("td", { class: "text" }, c.low === null || c.high === null ? "–" : `[${signed(c.low)}, ${signed(c.high)}]`), h("td", null, g(c.effect)), h("td", null, p(c.p)), h("td", null, p(c.p_holm)),
      h("td", { class: "stars" }, c.stars), h("td", null, c.n), h("td", null, det(c.detectable)), h("td", { class: "text wrap" }, c.note))))));
  };

  const draw = () => { drawDots(); drawCompared(); };
  const set = (name) => (value) => { view[name] = value; draw(); };
  if (metrics.length) controls.append(chooser("metric", metrics.map((m) => [m, m]), view.metric, set("metric")),
    chooser("order", [["declared", "as declared"], ["mean", "by mean"]], view.order, set("order")), ...(controlNames.length > 1 ? [chooser("control", controlNames.map((c) => [c, c]), view.control, set("control"))] : []));
  drawsWhenFiltered(section, draw);
  resized(body, draw);
}
