// The table of runs. Its rows are made once; a filter hides rows, sorting moves them, other columns make them anew.

let ordered = RUNS.slice();  // as the table shows them, for "next" in a run's panel

function startRuns() {
  const section = byId("runs"), controls = section.querySelector(".controls"), body = section.querySelector(".body");
  const chosen = new Set((D.shown.length ? D.shown : METRICS).slice(0, 6));
  const sort = { key: "", down: false };
  const table = h("table", { class: "pickable", "aria-label": "runs" }), none = h("p", { class: "empty", hidden: true }, "No run passes the filter.");
  let rows = [], columns = [];

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
        cells.push(h("td", { class: "error", colspan: columns.filter((c) => c.kind === "metric").length, title: run.error }, run.error.split("\n")[0]));
      } else if (!run.error) cells.push(h("td", { class: "faint" }, "–"));
    }
    return cells;
  };

  const make = () => {
    columns = columnsNow();
    if (!columns.some((c) => c.key === sort.key)) sort.key = "";
    rows = RUNS.map((run) => h("tr", { tabindex: -1, "data-run": run.i, "aria-label": `${run.run}, ${run.state}; Enter opens it` }, cellsOf(run)));
    table.replaceChildren(h("thead", null, h("tr", null, columns.map((c) => h("th", { scope: "col", class: c.kind, "aria-sort": "none", "data-key": c.key },
      h("button", { type: "button", title: `sort by ${c.name}`, onclick: () => sortBy(c) }, breakable(c.name)))))), h("tbody"));
    order();
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
    for (const th of table.querySelectorAll("th")) th.setAttribute("aria-sort", th.dataset.key !== sort.key ? "none" : sort.down ? "descending" : "ascending");
    const part = document.createDocumentFragment();
    part.append(...ordered.map((run) => rows[run.i]));
    table.tBodies[0].append(part);
    hide();
  };

  const hide = () => {
    rows.forEach((row, i) => { if (row.hidden === Boolean(passes[i])) row.hidden = !passes[i]; });
    none.hidden = left.length > 0;
    const entry = ordered.find((run) => passes[run.i]);  // one row is in the order of tabs, arrows reach the others
    if (!rows.some((row) => row.tabIndex === 0 && !row.hidden)) {
      for (const row of rows) if (row.tabIndex === 0) row.tabIndex = -1;
      if (entry) rows[entry.i].tabIndex = 0;
    }
  };

  const runOf = (e) => { const row = e.target.closest("tbody tr"); return row && RUNS[+row.dataset.run]; };
  table.addEventListener("click", (e) => { const run = runOf(e); if (run) openRun(run, rows[run.i]); });
  table.addEventListener("pointerover", (e) => { const run = runOf(e); if (run !== looked) look(run || null); });
  table.addEventListener("pointerleave", () => look(null));
  table.addEventListener("keydown", (e) => {
    const run = runOf(e);
    if (!run) return;
    if (e.key === "Enter" || e.key === " ") { e.preventDefault(); openRun(run, rows[run.i]); }
    const move = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (!move) return;
    e.preventDefault();
    const seen = ordered.filter((r) => passes[r.i]), next = seen[seen.indexOf(run) + move];
    if (!next) return;
    rows[run.i].tabIndex = -1;
    rows[next.i].tabIndex = 0;
    rows[next.i].focus();
  });
  controls.append(...(METRICS.length ? [picker("columns", METRICS, chosen, make)] : []),
    h("span", { class: "note" }, "Click on a header to sort, on a row for the run. A value's 95 % interval over test cases is its tooltip."));
  body.append(h("div", { class: "scroll", role: "region", "aria-label": "table of runs" }, table), none);
  make();
  drawers.push(hide);
  markers.push(() => rows.forEach((row, i) => row.classList.toggle("open", opened !== null && opened.i === i)));
}

function metricCell(run, column) {
  const found = run.values[METRIC.get(column.name)];
  if (!found) return h("td", { class: "faint", title: "this run has no such metric" }, "–");
  const [value, low, high, n] = found;
  if (value === null) return h("td", { class: "error", style: "text-align:right" }, "NaN");
  const title = `${column.name}: ${shown(value)}` + (low === null || high === null ? "" : ` [${shown(low)}, ${shown(high)}]`) + (n ? `, n = ${n.toLocaleString("en-US")}` : "");
  return h("td", { class: "bar", title, style: `--v:${(100 * column.dim.place(value)).toFixed(0)}%` }, column.number(value));
}
