// The table of runs. Rows are made when they are scrolled to, and kept: a browser needs a third of a second to lay out 500.

const CHUNK = 50;  // rows that are added at once

let ordered = RUNS.slice();  // as the table shows them, for "next" in a run's panel

function startRuns() {
  const section = byId("runs"), controls = section.querySelector(".controls"), body = section.querySelector(".body");
  const chosen = new Set((D.shown.length ? D.shown : METRICS).slice(0, 6));
  const sort = { key: "", down: false };
  const table = h("table", { class: "pickable", "aria-label": "runs" }), none = h("p", { class: "empty", hidden: true },
    "No run passes the filter.");
  const scroller = h("div", { class: "scroll", role: "region", "aria-label": "table of runs" }, table);
  let rows = [], columns = [], seen = [], drawn = 0, entry = null;  // rows: made so far, by run; seen: runs that pass, in order

  const columnsNow = () => {
    const plain = (key, name, of, text, kind = "") => ({ key, name, of, text, kind });
    const found = [plain("state", "state", (r) => STATES.indexOf(r.state), null, "text")];
    if (!VARYING.length) found.push(plain("tag", "tag", (r) => r.tag, (r) => r.tag, "text"));
    for (const axis of VARYING) {
      const dim = dimension(`axis ${axis}`);
      found.push(plain(dim.key, axis, dim.of, (r) => shown(dim.of(r)), dim.numeric ? "" : "text"));
    }
    found.push(plain("seed", "seed", (r) => r.seed, (r) => r.seed));
    for (const metric of METRICS.filter((m) => chosen.has(m))) {
      const dim = dimension(`metric ${metric}`), text = columnFormat(RUNS.map(dim.of));
      found.push({ ...plain(dim.key, metric, dim.of, null, "metric"), dim, number: text });
    }
    found.push(plain("step", "step", (r) => r.step, (r) => (r.step ? r.step.toLocaleString("en-US") : "–")),
      plain("seconds", "time (h:m:s)", (r) => r.seconds, (r) => duration(r.seconds)));
    if (RUNS.some((r) => r.tries > 1)) found.push(plain("tries", "tries", (r) => r.tries, (r) => r.tries));
    return found;
  };

  const cellsOf = (run) => {
    const empty = !run.values.length, cells = [];
    for (const column of columns) {
      if (column.key === "state") cells.push(h("td", { class: "text" }, h("span", { class: `state ${run.state}` }, run.state)));
      else if (column.kind !== "metric") cells.push(h("td", { class: column.kind }, String(column.text(run))));
      else if (!empty) cells.push(metricCell(run, column));
      else if (run.error && !cells.some((c) => c.colSpan > 1 || c.className === "error")) {
        cells.push(h("td", { class: "error", colspan: columns.filter((c) => c.kind === "metric").length, title: run.error },
          run.error.split("\n")[0]));
      } else if (!run.error) cells.push(h("td", { class: "faint" }, "–"));
    }
    return cells;
  };

  const make = () => {
    columns = columnsNow();
    if (!columns.some((c) => c.key === sort.key)) sort.key = "";
    rows = [];
    table.replaceChildren(h("thead", null, h("tr", null, columns.map(headOf))), h("tbody"));
    order();
  };

  const headOf = (c) => {  // as wide as its longest cell, so that columns stay where they are when further rows come
    const long = c.text ? Math.max(...RUNS.map((r) => String(c.text(r)).length)) : 8;
    return h("th", { scope: "col", class: c.kind, "aria-sort": "none", "data-key": c.key,
      style: `min-width:calc(${Math.min(long, 40)}ch + 22px)` },
      h("button", { type: "button", title: `sort by ${c.name}`, onclick: () => sortBy(c) }, breakable(c.name)));
  };

  const sortBy = (column) => {  // of a metric the largest first: what one looks for
    sort.down = sort.key === column.key ? !sort.down : column.kind === "metric";
    sort.key = column.key;
    order();
  };

  const order = () => {
    const column = columns.find((c) => c.key === sort.key), sign = sort.down ? -1 : 1;
    ordered = RUNS.slice();
    if (column) {
      const values = RUNS.map(column.of);
      const absent = (v) => v === null || v === undefined;
      ordered.sort((a, b) => {
        const [x, y] = [values[a.i], values[b.i]];
        if (absent(x) || absent(y)) return absent(x) - absent(y);  // last in both directions
        return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
      });
    }
    for (const th of table.querySelectorAll("th")) {
      th.setAttribute("aria-sort", th.dataset.key !== sort.key ? "none" : sort.down ? "descending" : "ascending");
    }
    draw();
  };

  const rowOf = (run) => rows[run.i] ||= h("tr", { tabindex: -1, "data-run": run.i, class: opened === run ? "open" : null,
    "aria-label": `${run.run}, ${run.state}; Enter opens it` }, cellsOf(run));

  const more = (count) => {
    table.tBodies[0].append(...seen.slice(drawn, drawn + count).map(rowOf));
    drawn = Math.min(drawn + count, seen.length);
  };

  const enter = (run) => {  // one row is in the order of tabs, arrows reach the others
    if (entry) entry.tabIndex = -1;
    entry = rowOf(run);
    entry.tabIndex = 0;
  };

  const draw = () => {
    seen = ordered.filter((run) => passes[run.i]);
    drawn = 0;
    table.tBodies[0].replaceChildren();
    scroller.scrollTop = 0;
    more(CHUNK);
    none.hidden = seen.length > 0;
    if (seen.length) enter(seen[0]);
  };

  const runOf = (e) => { const row = e.target.closest("tbody tr"); return row && RUNS[+row.dataset.run]; };
  table.addEventListener("click", (e) => { const run = runOf(e); if (run) openRun(run, rows[run.i]); });
  table.addEventListener("pointerover", (e) => { const run = runOf(e); if (run !== looked) look(run || null); });
  table.addEventListener("pointerleave", () => look(null));
  table.addEventListener("keydown", (e) => {
    const run = runOf(e), move = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (!run) return;
    if (e.key === "Enter" || e.key === " ") { e.preventDefault(); openRun(run, rows[run.i]); }
    if (!move) return;
    e.preventDefault();
    const next = seen.indexOf(run) + move;
    if (!seen[next]) return;
    if (next >= drawn) more(CHUNK);
    enter(seen[next]);
    entry.focus();
  });
  scroller.addEventListener("scroll", () => {
    if (drawn < seen.length && scroller.scrollTop + 2 * scroller.clientHeight > scroller.scrollHeight) more(CHUNK);
  }, { passive: true });
  controls.append(...(METRICS.length ? [picker("columns", METRICS, chosen, make)] : []),
    h("span", { class: "note" }, "Click on a header to sort, on a row for the run. A value's tooltip has its 95 % interval."));
  body.append(scroller, none);
  columns = columnsNow();
  drawsWhenFiltered(section, () => { if (!table.tHead) make(); else draw(); });
  let was = null;
  markers.push(() => {
    if (was !== opened) for (const run of [was, opened]) if (run && rows[run.i]) rows[run.i].classList.toggle("open", run === opened);
    was = opened;
  });
}

function metricCell(run, column) {
  const found = run.values[METRIC.get(column.name)];
  if (!found) return h("td", { class: "faint", title: "this run has no such metric" }, "–");
  const [value, low, high, n] = found;
  if (value === null) return h("td", { class: "error", style: "text-align:right" }, "NaN");
  const title = `${column.name}: ${shown(value)}` + (low === null || high === null ? "" : ` [${shown(low)}, ${shown(high)}]`)
    + (n ? `, n = ${n.toLocaleString("en-US")}` : "");
  return h("td", { class: "bar", title, style: `--v:${(100 * column.dim.place(value)).toFixed(0)}%` }, column.number(value));
}
