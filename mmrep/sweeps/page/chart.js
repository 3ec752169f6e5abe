// Lines over steps: the learning curves of all runs, and those of one run in its panel.

function yScale(values, log, bottom, top) {
  // {at, ticks, beyond}: a diverged run must not flatten all the others, so far extremes leave the plot, and are counted
  const kept = (log ? values.filter((v) => v > 0) : values).sort((a, b) => a - b);
  if (!kept.length) return null;
  const f = log ? Math.log10 : (x) => x, q = (p) => f(kept[Math.round(p * (kept.length - 1))]);
  let [low, high] = [q(0), q(1)];
  const span = q(0.9) - q(0.1), usual = kept.map(f).filter((v) => Math.abs(v - q(0.5)) <= 4 * span);
  if (span > 0) [low, high] = [usual[0], usual.at(-1)];
  if (high === low) { const pad = log ? 0.5 : Math.abs(low) * 0.1 || 1; low -= pad; high += pad; }
  const pad = (high - low) * 0.04;
  low -= pad; high += pad;
  const at = (v) => bottom - (f(v) - low) / (high - low) * (bottom - top);
  const ticks = (log ? logTicks(10 ** low, 10 ** high) : niceTicks(low, high, 7)).filter((v) => f(v) >= low && f(v) <= high);
  return { at, ticks, beyond: (v) => f(v) > high || f(v) < low };
}

function pathOf(xs, ys) {
  let d = "";
  for (let i = 0; i < xs.length; i++) d += `${i ? "L" : "M"}${xs[i].toFixed(1)},${ys[i].toFixed(1)}`;
  return xs.length === 1 ? `${d}h.01` : d;  // a single point would not be drawn
}

function plotLines(host, lines, options) {
  // lines: [{steps, values, color, name, run?, width?, opacity?, band?: [lows, highs]}]
  // options: label, yName, height, log, pick(run): what a click or Enter does; returns {cut: lines that leave the plot, mark(run)}
  const width = Math.max(host.clientWidth, 300), height = options.height || 380, [l, r, t, b] = [58, 14, 24, 36];
  const bottom = height - b, usable = lines.map((line) => {
    const keep = line.steps.map((_, i) => i).filter((i) => line.values[i] !== null && line.values[i] !== undefined
      && (!options.log || line.values[i] > 0));
    return { ...line, keep };
  }).filter((line) => line.keep.length);
  const all = usable.flatMap((line) => line.keep.map((i) => line.values[i])), y = yScale(all, options.log, bottom, t);
  if (!y) {
    host.replaceChildren(h("p", { class: "empty" }, lines.length ? `No value of ${options.yName} above 0 to draw on a logarithmic scale.`
      : options.empty || "Nothing to draw."));
    return { cut: 0, mark: () => {} };
  }
  let [first, last] = [Infinity, -Infinity];
  for (const line of usable) { first = Math.min(first, line.steps[line.keep[0]]); last = Math.max(last, line.steps[line.keep.at(-1)]); }
  const x = (step) => (last === first ? (l + width - r) / 2 : l + (step - first) / (last - first) * (width - l - r));
  const clip = `clip-${plotLines.count = (plotLines.count || 0) + 1}`;
  const group = s("g", { class: "lines", "clip-path": `url(#${clip})` }), bands = s("g", { "clip-path": `url(#${clip})` });
  for (const line of usable) {
    line.xs = line.keep.map((i) => x(line.steps[i]));
    line.ys = line.keep.map((i) => y.at(line.values[i]));
    if (line.band) {
      const clamp = (v) => y.at(options.log ? Math.max(v, 1e-12) : v);
      const [lows, highs] = line.band.map((end) => line.keep.map((i) => clamp(end[i])));
      bands.append(s("path", { d: `${pathOf(line.xs, highs)}${pathOf(line.xs.slice().reverse(), lows.reverse()).replace("M", "L")}Z`,
        fill: line.color, opacity: 0.16 }));
    }
    line.path = s("path", { d: pathOf(line.xs, line.ys), stroke: line.color, "stroke-width": line.width || 1.3, opacity: line.opacity || 1,
      "stroke-linecap": "round" });
    group.append(line.path);
  }
  const over = s("path", { fill: "none", stroke: "#111", "stroke-width": 2.6, "stroke-linejoin": "round", "pointer-events": "none",
    "clip-path": `url(#${clip})` });
  const svg = s("svg", { width, height, role: "img", tabindex: usable.length > 1 && options.pick ? 0 : null,
    "aria-label": `${options.label}: ${plural(usable.length, "line")}`
      + (options.pick ? "; arrow keys step through the lines, Enter opens the run" : "") },
    s("clipPath", { id: clip }, s("rect", { x: l, y: t, width: width - l - r, height: bottom - t })),
    y.ticks.map((v) => [s("line", { class: "grid", x1: l, x2: width - r, y1: y.at(v), y2: y.at(v) }),
      s("text", { x: l - 8, y: y.at(v) + 4, "text-anchor": "end" }, shown(v))]),
    niceTicks(first, last, Math.max(2, Math.floor(width / 130))).map((v) =>
      s("text", { x: x(v), y: bottom + 18, "text-anchor": "middle" }, thousands(v))),
    s("line", { class: "rule", x1: l, x2: width - r, y1: bottom, y2: bottom }),
    s("text", { x: width - r, y: height - 3, "text-anchor": "end" }, "step"), s("text", { class: "strong", x: 4, y: 12 }, options.yName),
    bands, group, over);
  let at = -1;
  const nearest = (mx, my) => {
    let [best, found] = [14, -1];
    usable.forEach((line, i) => {
      const { xs, ys } = line, n = xs.length;
      if (mx < xs[0] - 6 || mx > xs[n - 1] + 6) return;
      let [lo, hi] = [0, n - 1];
      while (hi - lo > 1) { const mid = (lo + hi) >> 1; if (xs[mid] <= mx) lo = mid; else hi = mid; }
      const f = xs[hi] > xs[lo] ? Math.min(Math.max((mx - xs[lo]) / (xs[hi] - xs[lo]), 0), 1) : 0,
        away = Math.abs(ys[lo] + f * (ys[hi] - ys[lo]) - my);
      if (away < best) { best = away; found = i; }
    });
    return found;
  };
  const show = (i, event) => {
    at = i;
    const line = usable[i];
    over.setAttribute("d", line ? pathOf(line.xs, line.ys) : "");
    if (options.pick) look(line && line.run ? line.run : null);
    if (!line) return tip("");
    const box = svg.getBoundingClientRect(), mx = event ? event.clientX - box.left : line.xs.at(-1);
    const near = line.xs.reduce((best, px, k) => (Math.abs(px - mx) < Math.abs(line.xs[best] - mx) ? k : best), 0), k = line.keep[near];
    const place = event || { clientX: box.left + line.xs[near] - 120, clientY: box.top + line.ys[near] };
    tip(`${line.name}\nstep ${line.steps[k].toLocaleString("en-US")}: ${shown(line.values[k])}`, place);
    svg.style.cursor = line.run && options.pick ? "pointer" : "";
  };
  svg.addEventListener("pointermove", (e) => { const box = svg.getBoundingClientRect();
    show(nearest(e.clientX - box.left, e.clientY - box.top), e); });
  svg.addEventListener("pointerleave", () => show(-1));
  svg.addEventListener("blur", () => show(-1));
  svg.addEventListener("click", () => { if (options.pick && usable[at]?.run) options.pick(usable[at].run, svg); });
  svg.addEventListener("keydown", (e) => {
    const move = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[e.key];
    if (move) { e.preventDefault(); show((at + move + usable.length) % usable.length); }
    if (e.key === "Enter" && options.pick && usable[at]?.run) options.pick(usable[at].run, svg);
    if (e.key === "Escape") show(-1);
  });
  host.replaceChildren(svg);
  return { cut: usable.filter((line) => line.keep.some((i) => y.beyond(line.values[i]))).length, mark: (run) => {
    const line = run && usable.find((one) => one.run === run);
    over.setAttribute("d", line ? pathOf(line.xs, line.ys) : "");
  } };
}

// ---- the section ----------------------------------------------------------------------------------------------------

const pooled = (run, key) => (run.curve && run.curve[key] !== undefined ? D.pool[run.curve[key]] : null);

function curveKeys(runs) {
  return [...new Set(runs.flatMap((r) => Object.keys(r.curve || {})))].filter((k) => k !== "step");
}

function meansOf(runs, key, color) {  // a line a tag: mean and range of its seeds, where all of the seeds that finished have a value
  const tags = Map.groupBy ? Map.groupBy(runs, (r) => r.tag) : runs.reduce((m, r) => m.set(r.tag, [...(m.get(r.tag) || []), r]), new Map());
  return [...tags].flatMap(([tag, members]) => {
    const done = members.filter((r) => r.state === "finished" && pooled(r, key)), of = done.length ? done
      : members.filter((r) => pooled(r, key));
    if (!of.length) return [];
    const series = of.map((r) => new Map(pooled(r, "step").map((step, i) => [step, pooled(r, key)[i]]).filter(([, v]) => v !== null)));
    const steps = [...series[0].keys()].filter((step) => series.every((one) => one.has(step)));
    const columns = steps.map((step) => series.map((one) => one.get(step)));
    return [{ steps, values: columns.map((c) => c.reduce((a, v) => a + v) / c.length), color: color(of[0]),
      name: `${tag}\nmean and range of ${plural(of.length, "seed")}`,
      width: 2, band: [columns.map((c) => Math.min(...c)), columns.map((c) => Math.max(...c))] }];
  });
}

function startCurves() {
  const section = byId("curves"), controls = section.querySelector(".controls"), body = section.querySelector(".body"),
    keys = curveKeys(RUNS);
  if (!keys.length) return body.append(h("p", { class: "empty" }, "No learning curves were recorded."));
  const by = [...VARYING.map((a) => `axis ${a}`), "seed", "state"];
  const view = { key: keys.includes("loss") ? "loss" : keys[0], color: by[0], mean: false, log: false };
  const host = h("div", { class: "plot-host", style: "min-height:380px" }), note = h("p", { class: "note", "aria-live": "polite" }),
    legend = h("div");
  const set = (name) => (value) => { view[name] = value; draw(); };
  let plot = { mark: () => {} };
  const draw = () => {
    const { of, legend: entries } = coloring(view.color), with_ = left.filter((r) => pooled(r, view.key));
    const opacity = with_.length > 200 ? 0.35 : with_.length > 60 ? 0.55 : 0.85;
    // else the last color hides all others
    const mixed = with_.map((r, i) => [(i * 0.618034) % 1, r]).sort((p, q) => p[0] - q[0]).map((p) => p[1]);
    const lines = view.mean ? meansOf(with_, view.key, of) : mixed.map((r) => ({ steps: pooled(r, "step"), values: pooled(r, view.key),
      color: of(r), name: r.run, run: r, opacity }));
    plot = plotLines(host, lines, { label: `learning curves of ${view.key}`, yName: view.key, log: view.log, pick: openRun,
      empty: left.length ? `None of the ${plural(left.length, "run")} shown recorded ${view.key}.` : "No run passes the filter." });
    legend.replaceChildren(entries);
    const without = left.length - with_.length;
    note.textContent = [`${plural(lines.length, view.mean ? "setting" : "run")}.`, without && `${without} without ${view.key}.`,
      view.mean && "Mean and range over the finished seeds, at the steps that all of them have.",
      plot.cut && `${plural(plot.cut, "line")} ${plot.cut === 1 ? "leaves" : "leave"} the plot: some of their values lie far beyond all others.`].filter(Boolean).join(" ");
    plot.mark(opened);
  };
  controls.append(chooser("curve", keys.map((k) => [k, k]), view.key, set("key")), chooser("color", by.map((k) => [k, dimension(k).name]),
    view.color, set("color")),
    toggle("mean over seeds", false, set("mean")), toggle("log y", false, set("log")));
  body.append(legend, host, note);
  drawsWhenFiltered(section, draw);
  markers.push((run) => plot.mark(run));
  resized(host, draw);
}

function resized(host, draw) {  // draw again when the width changes, once it rests
  let width = 0, timer = 0;
  new ResizeObserver(() => {
    if (!width) width = host.clientWidth;  // told once at the start: nothing changed yet
    if (Math.abs(host.clientWidth - width) < 2) return;
    width = host.clientWidth;
    clearTimeout(timer);
    timer = setTimeout(draw, 80);
  }).observe(host);
}
