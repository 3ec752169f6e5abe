// Puts the sections together.

function start() {
  document.title = `${D.study || "sweep"}: report`;
  drawHead();
  if (!RUNS.length) {
    byId("bar").remove();
    return byId("main").replaceChildren(h("p", { class: "empty", id: "empty" }, "This sweep has 0 runs: there is nothing to show yet."),
      ...D.problems.map((text) => h("p", { class: "note" }, text)));
  }
  drawFilter();
  startResults();
  startRuns();
  startCurves();
  startParallel();
  update();
  followScroll();
  addEventListener("keydown", (e) => { if (e.key === "Escape" && opened && !e.defaultPrevented) closeRun(); });
}

start();
