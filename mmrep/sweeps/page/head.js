// What the report is of, what a reader must know first, and the bar with the filter.

function drawHead() {
  const count = (state) => RUNS.filter((r) => r.state === state).length;
  const fact = (name, value) => value && h("span", null, `${name} `, h("b", null, value));
  const commit = String(D.commit || "");
  byId("head").append(
    h("h1", null, D.study || "sweep"),
    h("p", { class: "facts" }, fact("config", D.config), commit && h("span", { title: commit }, "commit ",
      h("code", null, commit.slice(0, 12))),
      fact("device", D.device), fact("report of", D.generated)),
    RUNS.length === 0 ? "" : h("div", { class: "counts", role: "group", "aria-label": "runs by state; click to filter" },
      h("button", { type: "button", "aria-pressed": "true", "data-state": "", onclick: () => pickState("") },
        h("b", null, RUNS.length.toLocaleString("en-US")), RUNS.length === 1 ? "run" : "runs"),
      STATES.filter(count).map((state) => h("button", { type: "button", "aria-pressed": "false", "data-state": state,
        onclick: () => pickState(state) },
        h("span", { class: `state ${state}` }, h("b", null, count(state).toLocaleString("en-US")), state)))),
    drawProblems());
}

function drawProblems() {
  const found = D.problems;
  if (!found.length || !RUNS.length) return "";
  const list = h("ul", null, found.slice(0, 200).map((text) => h("li", null, text)),
    found.length > 200 && h("li", { class: "many" }, `and ${found.length - 200} more`));
  if (found.length <= 3) return h("div", { class: "problems", role: "note" }, h("b", null, plural(found.length, "problem")), list);
  return h("details", { class: "problems" }, h("summary", null, h("b", null, plural(found.length, "problem")),
    ` – the first: ${found[0]}`), list);
}

function pickState(state) {
  const select = document.querySelector('#filter select[data-key="state"]');
  if (!select) return;
  select.value = state === "" ? "" : String(dimension("state").distinct.indexOf(state));
  select.dispatchEvent(new Event("change"));
}

function optionsOf(dim) {  // of an axis with more values than a list can hold, its quarters
  const unset = RUNS.some((r) => dim.of(r) === null) ? [{ text: "not set", test: (r) => dim.of(r) === null }] : [];
  if (!dim.numeric || dim.distinct.length <= 24) return [...dim.distinct.map((v) => ({ text: shown(v), test: (r) => dim.of(r) === v })),
    ...unset];
  const cut = [0, 0.25, 0.5, 0.75, 1].map((q) => dim.distinct[Math.round(q * (dim.distinct.length - 1))]);
  return [...[0, 1, 2, 3].map((i) => ({ text: `${shown(cut[i])} – ${shown(cut[i + 1])}`,
    test: (r) => dim.of(r) !== null && dim.of(r) >= cut[i] && (dim.of(r) < cut[i + 1] || (i === 3 && dim.of(r) <= cut[4])) })), ...unset];
}

let drawBar = () => {};  // how many runs pass, and what keeps the others out

function drawFilter() {
  const form = byId("filter");
  form.addEventListener("submit", (e) => e.preventDefault());
  const find = h("input", { type: "search", id: "find", placeholder: "find: sigmoid seed2 failed",
    "aria-label": "find runs by words of their tag, axes, state or error",
    oninput: () => { filter.text = find.value; update(); } });
  const selects = [...VARYING.map((a) => `axis ${a}`), "state"].filter((key) => dimension(key).distinct.length > 1
    || key !== "state").map((key) => {
    const dim = dimension(key), options = optionsOf(dim);
    const select = h("select", { "aria-label": `filter by ${dim.name}`, "data-key": key, onchange: () => {
      if (select.value === "") filter.picks.delete(key); else filter.picks.set(key, options[+select.value]);
      select.classList.toggle("set", select.value !== "");
      update();
    } }, h("option", { value: "" }, `${dim.name}: all`), options.map((o, i) => h("option", { value: i }, `${dim.name}: ${o.text}`)));
    return select;
  });
  const chips = h("span", { id: "chips" }), shownCount = h("span", { id: "shown", "aria-live": "polite" });
  const clear = h("button", { type: "button", id: "clear", onclick: () => {
    filter.text = find.value = "";
    filter.picks.clear();
    filter.brushes.clear();
    for (const select of selects) { select.value = ""; select.classList.remove("set"); }
    update();
  } }, "clear");
  form.append(find, ...selects);
  byId("passing").append(chips, shownCount, clear);
  drawBar = () => {
    shownCount.replaceChildren(h("b", null, left.length.toLocaleString("en-US")), ` of ${plural(RUNS.length, "run")}`);
    clear.disabled = !filter.text && !filter.picks.size && !filter.brushes.size;
    chips.replaceChildren(...[...filter.brushes].map(([key, range]) => h("button", { type: "button", class: "chip",
      "aria-label": `remove the range of ${dimension(key).name}`,
      onclick: () => { filter.brushes.delete(key); update(); } },
        `${dimension(key).name.split("/").pop()} ${brushText(key, range)} \u00d7`)));
    const picked = filter.picks.get("state")?.text ?? "";
    for (const button of document.querySelectorAll(".counts button")) button.setAttribute("aria-pressed",
      String(button.dataset.state === picked));
  };
}

function brushText(key, range) {
  const dim = dimension(key), [from, to] = [Math.min(...range), Math.max(...range)];
  if (!dim.numeric) return dim.distinct.filter((v) => dim.place(v) >= from - 1e-9 && dim.place(v) <= to + 1e-9).map(shown).join(", ")
    || "none";
  const brief = (t) => shown(+dim.value(Math.min(Math.max(t, 0), 1)).toPrecision(3));
  const inside = dim.ticks === dim.distinct && dim.distinct.filter((v) => dim.place(v) >= from - 1e-9 && dim.place(v) <= to + 1e-9);
  return inside ? inside.map(shown).join(", ") || "none" : `${brief(from)} – ${brief(to)}`;
}

function followScroll() {  // the bar's height for anchors, and the section in sight for its links
  const bar = byId("bar"), links = [...document.querySelectorAll("nav a")];
  const sections = links.map((a) => byId(a.getAttribute("href").slice(1)));
  new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);
  const mark = () => {
    const edge = bar.offsetHeight + 60, bottom = innerHeight + scrollY >= document.body.scrollHeight - 4;
    let at = 0;
    sections.forEach((section, i) => { if (section.getBoundingClientRect().top < edge) at = i; });
    if (bottom && scrollY > 0) at = sections.length - 1;
    links.forEach((a, i) => { if (i === at) a.setAttribute("aria-current", "true"); else a.removeAttribute("aria-current"); });
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
}
