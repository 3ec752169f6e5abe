// Parallel coordinates: a line a run through its axes and metrics. What is brushed here filters the whole page.

function startParallel() {
  const section = byId("parallel"), controls = section.querySelector(".controls"), body = section.querySelector(".body");
  const measured = METRICS.filter((m) => dimension(`metric ${m}`).distinct.length > 0);
  const chosen = new Set((D.shown.length ? D.shown.filter((m) => measured.includes(m)) : measured).slice(0, 2));
  const view = { seed: false, color: [...chosen][0] ? `metric ${[...chosen][0]}` : `axis ${VARYING[0]}` };
  const host = h("div", { class: "plot-host", style: "min-height:400px" }), legend = h("div"), colorBox = h("span");
  const [top, height, bottomGap, under] = [76, 470, 66, 38], bottom = height - bottomGap;
  let dims = [], xs = [], lines = [], over = null, brushMarks = [];

  const place = (t) => (t === null ? bottom + under : bottom - t * (bottom - top));  // without a value: beneath the axis

  const make = () => {
    dims = [...VARYING.map((a) => `axis ${a}`), ...(view.seed ? ["seed"] : []), ...METRICS.filter((m) => chosen.has(m)).map((m) =>
      `metric ${m}`)].map(dimension);
    for (const key of filter.brushes.keys()) if (!dims.some((d) => d.key === key)) { filter.brushes.delete(key); queueMicrotask(update); }
    if (dims.length < 2) {
      host.replaceChildren(h("p", { class: "empty" },
        "Parallel coordinates need two axes or metrics that vary; choose metrics above, or look at the table."));
      [lines, over, brushMarks] = [[], null, []];
      return legend.replaceChildren();
    }
    if (!dims.some((d) => d.key === view.color)) view.color = dims.at(-1).key;
    const { of, legend: entries } = coloring(view.color), width = Math.max(host.clientWidth, 120 * dims.length), side = 70;
    colorBox.replaceChildren(chooser("color", dims.map((d) => [d.key, d.name]), view.color, (v) => { view.color = v; make(); draw(); }));
    legend.replaceChildren(entries);
    xs = dims.map((_, i) => side + i * (width - 2 * side) / (dims.length - 1));
    const fans = dims.map(fanOf), colorDim = dimension(view.color);
    lines = RUNS.map((run) => {
      const ys = dims.map((d, k) => place(d.at(run)) - fans[k](run));
      return { run, ys, path: s("path", { d: pathOf(xs, ys), stroke: of(run), "stroke-width": 1.3, fill: "none" }) };
    });
    // the highest values are drawn last, so that they are seen
    const drawn = lines.slice().sort((a, b) => (colorDim.at(a.run) ?? -1) - (colorDim.at(b.run) ?? -1));
    over = s("path", { fill: "none", stroke: "#111", "stroke-width": 2.8, "pointer-events": "none" });
    brushMarks = dims.map(() => s("rect", { class: "brush", width: 16, rx: 2 }));
    const missing = RUNS.some((r) => dims.some((d) => d.at(r) === null));
    const svg = s("svg", { width, height, role: "group", "aria-label": `parallel coordinates of ${plural(RUNS.length, "run")}` },
      missing && s("text", { x: 4, y: bottom + under + 4 }, "no value"), s("g", { class: "lines" }, drawn.map((line) => line.path)), over,
        dims.map((dim, i) => axisOf(dim, i, missing)));
    svg.addEventListener("pointermove", (e) => hover(e, svg));
    svg.addEventListener("pointerleave", () => { tip(""); look(null); });
    svg.addEventListener("click", (e) => { if (looked && !e.target.classList.contains("hit")) openRun(looked, svg); });
    host.replaceChildren(h("div", { style: "overflow-x:auto" }, svg));
  };

  // Where an axis has few values, the runs of each fan out by their color's rank among all: else they would be one thick line.
  const fanOf = (dim) => {
    if (dim.ticks !== dim.distinct || dim.key === view.color) return () => 0;
    const places = dim.distinct.map(dim.place).sort((a, b) => a - b), gap = Math.min(1,
      ...places.slice(1).map((t, i) => t - places[i])) * (bottom - top);
    const ranks = new Float64Array(RUNS.length).fill(-1), by = dimension(view.color),
      known = RUNS.filter((r) => by.at(r) !== null).sort((a, b) => by.at(a) - by.at(b));
    known.forEach((run, k) => { ranks[run.i] = known.length > 1 ? (2 * k) / (known.length - 1) - 1 : 0; });
    return (run) => ranks[run.i] * Math.min(18, gap * 0.36);
  };

  const axisOf = (dim, i, missing) => {
    const text = (t, label) => s("text", { x: xs[i] + 9, y: t + 4, "paint-order": "stroke", stroke: "#fff", "stroke-width": 4,
      "stroke-linejoin": "round" }, label);
    const parts = dim.name.split(/(?<=[/])/), rows = [];
    for (const part of parts) if (rows.length && (rows.at(-1) + part).length <= 19) rows.push(rows.pop() + part); else rows.push(part);
    const few = rows.slice(-3).map((r) => (r.length > 20 ? r.slice(0, 19) + "…" : r));
    const hit = s("rect", { class: "hit", x: xs[i] - 14, y: top - 20, width: 28, height: bottom - top + 40 });
    const group = s("g", { class: "axis", tabindex: 0, role: "slider", "data-key": dim.key, "aria-valuetext": "all", "aria-label":
      `${dim.name}: drag to keep a range; up and down arrows move its lower end, with shift its upper end, Escape clears it` },
      s("line", { class: "rule", x1: xs[i], x2: xs[i], y1: top, y2: bottom }), missing
        && s("line", { class: "rule", x1: xs[i] - 4, x2: xs[i] + 4, y1: bottom + under, y2: bottom + under }),
      dim.ticks.map((v) => [s("line", { class: "rule", x1: xs[i] - 3, x2: xs[i] + 3, y1: place(dim.place(v)), y2: place(dim.place(v)) }),
        text(place(dim.place(v)), shown(v))]),
      few.map((row, k) => s("text", { class: k === few.length - 1 ? "strong" : "", x: xs[i], y: top - 30 - 14 * (few.length - 1 - k),
        "text-anchor": "middle" }, row)),
      s("title", null, dim.name), brushMarks[i], hit);
    brushing(group, hit, dim);
    return group;
  };

  const brushing = (group, hit, dim) => {
    const at = (e) => Math.min(1, Math.max(0, (bottom - (e.clientY - hit.ownerSVGElement.getBoundingClientRect().top)) / (bottom - top)));
    let start = null, waits = false;
    const later = () => { if (!waits) { waits = true; requestAnimationFrame(() => { waits = false; update(); }); } };  // one update a frame
    const finish = (e) => {
      if (start === null) return;
      const end = at(e);
      if (Math.abs(end - start) * (bottom - top) < 4) {  // a click: takes the range away, or keeps one value of an axis that has few
        const near = dim.ticks === dim.distinct && dim.distinct.map((v) => dim.place(v)).find((t) =>
          Math.abs(t - end) * (bottom - top) < 12);
        const had = start.had, one = near !== false && near !== undefined && !(had && had[0] === near && had[1] === near);
        if (one) filter.brushes.set(dim.key, [near, near]); else filter.brushes.delete(dim.key);
      }
      start = null;
      later();
    };
    hit.addEventListener("pointerdown", (e) => {
      e.preventDefault();
      group.focus({ preventScroll: true });
      start = Object.assign(new Number(at(e)), { had: filter.brushes.get(dim.key) });
      hit.setPointerCapture(e.pointerId);
    });
    hit.addEventListener("pointermove", (e) => {
      if (start === null || Math.abs(at(e) - start) * (bottom - top) < 4) return;
      filter.brushes.set(dim.key, [Math.min(start, at(e)), Math.max(start, at(e))]);
      later();
    });
    hit.addEventListener("pointerup", finish);
    hit.addEventListener("pointercancel", () => { start = null; });
    group.addEventListener("keydown", (e) => {
      const step = { ArrowUp: 1, ArrowDown: -1 }[e.key], places = dim.ticks === dim.distinct
        ? dim.distinct.map((v) => dim.place(v)).sort((a, b) => a - b) : null;
      if (e.key === "Escape" || e.key === "Delete") { if (filter.brushes.delete(dim.key)) update(); return; }
      if (!step) return;
      e.preventDefault();
      const range = (filter.brushes.get(dim.key) || [0, 1]).slice(), end = e.shiftKey ? 1 : 0;
      const next = places ? (step > 0 ? places.find((t) => t > range[end] + 1e-6) : places.findLast((t) => t < range[end] - 1e-6))
        : range[end] + 0.05 * step;
      if (next === undefined) return;
      range[end] = Math.min(1, Math.max(0, next));
      if (range[0] > range[1]) range[1 - end] = range[end];
      filter.brushes.set(dim.key, range);
      update();
    });
  };

  const draw = () => {
    if (!lines.length) return;
    const faint = left.length > 200 ? 0.4 : left.length > 60 ? 0.6 : 0.85;
    for (const line of lines) {
      const style = line.path.style;
      style.opacity = passes[line.run.i] ? faint : 0.06;
    }
    dims.forEach((dim, i) => {
      const range = filter.brushes.get(dim.key), mark = brushMarks[i], group = mark.parentNode;
      group.setAttribute("aria-valuetext", range ? brushText(dim.key, range) : "all");
      mark.style.display = range ? "" : "none";
      if (!range) return;
      const [from, to] = [bottom - range[1] * (bottom - top), bottom - range[0] * (bottom - top)];
      for (const [k, v] of Object.entries({ x: xs[i] - 8, y: from - 4, height: to - from + 8 })) mark.setAttribute(k, v);
    });
  };

  const hover = (e, svg) => {
    const box = svg.getBoundingClientRect(), mx = e.clientX - box.left, my = e.clientY - box.top;
    const i = xs.findLastIndex((x) => x <= mx), inside = i >= 0 && i < xs.length - 1 && !(e.buttons & 1);
    let [best, found] = [9, null];
    if (inside) {
      const f = (mx - xs[i]) / (xs[i + 1] - xs[i]);
      for (const line of lines) {
        const away = Math.abs(line.ys[i] + f * (line.ys[i + 1] - line.ys[i]) - my);
        if (passes[line.run.i] && away < best) { best = away; found = line; }
      }
    }
    if ((found && found.run) !== looked) look(found ? found.run : null);
    svg.style.cursor = found ? "pointer" : "";
    tip(found ? [found.run.run, ...dims.filter((d) => d.kind === "metric").map((d) => `${d.name}: ${shown(d.of(found.run))}`)].join("\n")
      : "", e);
  };

  const remake = () => { make(); draw(); };
  controls.append(...(measured.length ? [picker("metrics", measured, chosen, remake)] : []),
    toggle("seed", false, (v) => { view.seed = v; remake(); }), colorBox,
    h("span", { class: "note" }, "Drag along an axis to keep a range, click on a value to keep it, click again to let go. "
      + "Lines that meet in a value fan out by their color."));
  const same = D.axes.filter((a) => !VARYING.includes(a)).map((a) => `${a} = ${shown(dimension(`axis ${a}`).distinct[0])}`);
  body.append(legend, host, ...(same.length ? [h("p", { class: "note" }, `The same in all runs: ${same.join(", ")}.`)] : []));
  drawsWhenFiltered(section, () => { if (!host.firstChild) make(); draw(); });
  markers.push((run) => { if (over) over.setAttribute("d", run && lines[run.i] ? pathOf(xs, lines[run.i].ys) : ""); });
  resized(host, remake);
}
