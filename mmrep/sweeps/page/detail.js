// The panel of one run: its setting, its values, its curve; map.js adds what it has learned.

let cameFrom = null;                              // where the focus returns to
const curveShown = { key: "loss", log: false };   // kept from run to run

function openRun(run, from) {
  const panel = byId("detail");
  if (panel.hidden) cameFrom = from || document.activeElement;
  opened = run;
  tip("");
  panel.hidden = false;
  panel.replaceChildren(topOf(run), factsOf(run), errorOf(run), ...valuesOf(run), ...curveOf(run), ...mapOf(run), ...retrievalOf(run));
  panel.scrollTop = 0;
  for (const host of panel.querySelectorAll("[data-draw]")) host.drawIt();  // figures need the width that they have in the page
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
  const go = (to, text, label) => h("button", { type: "button", "aria-label": label, disabled: !seen[to],
    onclick: () => openRun(seen[to]) }, text);
  return h("div", { class: "top" }, h("h2", { id: "detail-title", tabindex: -1 }, splitName(run)),
    go(at < 0 ? -1 : at - 1, "previous", "previous run of the table"),
    go(at < 0 ? 0 : at + 1, "next", "next run of the table"),
    h("button", { type: "button", id: "close", onclick: closeRun }, "close"));
}

function factsOf(run) {
  const facts = [["state", h("span", { class: `state ${run.state}` }, run.state)], ...Object.entries(run.axes).map(([k, v]) =>
    [k, shown(v)]),
    ["seed", shown(run.seed)], ["steps", run.step ? thousands(run.step) : "–"], ["time (h:m:s)", duration(run.seconds)]];
  if (run.tries > 1) facts.push(["tries", shown(run.tries)]);
  return h("dl", { class: "axes" }, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function errorOf(run) {
  return run.error ? h("div", { class: "error-box", role: "note" },
    h("b", null, `${run.state === "failed" ? "It failed" : "Its last error"}: `), run.error) : "";
}

function valuesOf(run) {
  const rows = METRICS.map((name, i) => ({ name, found: run.values[i], i })).filter((row) => row.found);
  if (!rows.length) return [h("h3", null, "Values"), h("p", { class: "note" }, "This run has no results.")];
  const text = (row) => columnFormat(row.found.slice(0, 3));  // metrics of one run differ in scale
  const columns = [
    { head: "metric", text: true, cell: (row) => breakable(row.name) },
    { head: "value", cell: (row) => (row.found[0] === null ? "NaN" : text(row)(row.found[0])) },
    { head: "95 % interval", text: true, cell: (row) => interval({ low: row.found[1], high: row.found[2] }, text(row)) },
    { head: "n", title: "test cases", cell: (row) => (row.found[3] ? thousands(row.found[3]) : "–") },
    ...Object.entries(run.controls).map(([name, values]) => ({ head: name, title: "a control", kind: "faint",
      cell: (row) => text(row)(values[row.i]) }))];
  return [h("h3", null, "Values, with 95 % intervals over test cases"), tableOf(columns, rows, { label: "values of the run" })];
}

function curveOf(run) {
  const keys = curveKeys([run]), title = h("h3", null, "Learning curve");
  if (!keys.length) return [title, h("p", { class: "note" }, "No curve was recorded.")];
  if (!keys.includes(curveShown.key)) curveShown.key = keys.includes("loss") ? "loss" : keys[0];
  const host = h("div", { class: "plot-host", "data-draw": "" }), others = RUNS.filter((r) => r.tag === run.tag && r !== run);
  host.drawIt = () => {
    const { key, log } = curveShown, line = (r, more) => ({ steps: pooled(r, "step"), values: pooled(r, key), name: r.run, ...more });
    const gray = others.filter((r) => pooled(r, key)).map((r) => line(r, { color: GRAY, width: 1.1 }));
    plotLines(host, [...gray, line(run, { color: KINDS[0], width: 2.2 })], { label: `${key} of ${run.run}`, yName: key, height: 220, log });
  };
  const set = (name) => (value) => { curveShown[name] = value; host.drawIt(); };
  return [title, h("div", { class: "controls" }, chooser("curve", keys.map((k) => [k, k]), curveShown.key, set("key")),
    toggle("log y", curveShown.log, set("log")), others.length ? h("span", { class: "note" }, "Gray: the other seeds of this setting.")
      : null), host];
}
