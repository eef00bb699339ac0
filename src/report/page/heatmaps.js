// Heatmaps of the chosen runs at a step of training, or how far they lie above one of them.
const showHeatmaps = (() => {
  const withHeads = data.runs.filter((run) => run.heads);
  const steps = [...new Set(withHeads.flatMap((run) => run.heads.steps))].sort((a, b) => a - b);
  const draw = panels(byId("heatmap-grid"));
  const slider = byId("step");
  let playing = 0;

  // The newest frame of a run at `step`, and the step that it is of; the first where it has none yet.
  function frame(run, step) {
    let at = run.heads.steps.length - 1;
    while (at > 0 && run.heads.steps[at] > step) at -= 1;
    return { step: run.heads.steps[at], values: run.heads.frames[at] };
  }

  // Values of the cells, in nats; null where there is none.
  function cells(run, base, step) {
    const own = frame(run, step).values;
    if (!base) return own.map((value) => (value === null ? null : value / 1000));
    const other = frame(base, step).values;
    return own.map((value, index) =>
      (value === null || other[index] === null ? null : (value - other[index]) / 1000));
  }

  // Differences have one scale over all of training, or the slider would change what a colour means.
  function largestDifference(runs, base) {
    let most = 0.01;
    for (const run of runs) {
      for (const step of steps) {
        for (const value of cells(run, base, step)) most = Math.max(most, Math.abs(value || 0));
      }
    }
    return most;
  }

  const sameShape = (run, base) => run.heads.layers === base.heads.layers && run.heads.heads === base.heads.heads;
  const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(2).replace("-", "−");
  const number = (value, base) => (value === null ? "not finite" : base ? signed(value) : value.toFixed(2));

  function place(run, index) {
    const layer = Math.floor(index / run.heads.heads), head = index % run.heads.heads;
    return { layer, head };
  }

  function told(run, index, panel) {
    const { layer, head } = place(run, index);
    return `Layer ${layer}, head ${head}: ${number(panel.values[index], panel.base)}` +
      (panel.values[index] === null ? "" : panel.base ? " nats of difference" : " nats");
  }

  // What a new panel listens to: the pointer, and the arrow keys.
  function make(run, panel) {
    panel.facts = element("p", "", { class: "note" });
    panel.output = element("output", "", { "aria-live": "polite" });
    panel.place.before(panel.facts);
    panel.place.after(panel.output);
    panel.place.setAttribute("tabindex", "0");
    panel.place.setAttribute("role", "application");
    panel.place.setAttribute("aria-label", `Heatmap of ${run.name}. The arrow keys move from head to head.`);
    panel.at = 0;
    const point = (index) => {
      panel.at = index;
      panel.output.textContent = told(run, index, panel);
    };
    panel.chart.on("mouseover", (event) => { if (event.data) point(event.data.index); });
    const show = () => {
      const missing = panel.values[panel.at] === null ? 1 : 0;
      const row = panel.indices[missing].indexOf(panel.at);
      panel.chart.dispatchAction({ type: "downplay" });
      panel.chart.dispatchAction({ type: "highlight", seriesIndex: missing, dataIndex: row });
      panel.chart.dispatchAction({ type: "showTip", seriesIndex: missing, dataIndex: row });
      point(panel.at);
    };
    panel.place.addEventListener("focus", show);
    panel.place.addEventListener("blur", () => {
      panel.chart.dispatchAction({ type: "downplay" });
      panel.chart.dispatchAction({ type: "hideTip" });
    });
    panel.place.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!move) return;
      event.preventDefault();
      const { layers, heads } = run.heads, from = place(run, panel.at);
      const layer = Math.min(layers - 1, Math.max(0, from.layer + move[0]));
      const head = Math.min(heads - 1, Math.max(0, from.head + move[1]));
      panel.at = layer * heads + head;
      show();
    });
  }

  function update() {
    const step = steps[Number(slider.value)];
    byId("step-shown").textContent = step === undefined ? "" : thousands(step);
    slider.setAttribute("aria-valuetext", step === undefined ? "" : `step ${step}`);
    const base = withHeads[byId("show").value];
    const runs = picked().filter((run) => run.heads && (!base || sameShape(run, base)));
    const all = runs.map((run) => cells(run, base, step));
    const reach = base ? largestDifference(runs, base) : 0;
    draw(runs, make, (run, panel) => {
      panel.values = all[runs.indexOf(run)];
      panel.base = base;
      paint(run, panel, step, reach);
    });
    const left = picked().length - runs.length;
    byId("heatmap-note").textContent = runs.length === 0
      ? "No chosen run has attention records" + (base ? " of that shape." : ".")
      : `M: ${data.reference}. ` + (left > 0 ? `${left} of the chosen runs have no heads, or others.` : "");
  }

  function paint(run, panel, step, reach) {
    const { layers, heads } = run.heads, base = panel.base;
    const present = [], missing = [];
    panel.indices = [[], []];
    panel.values.forEach((value, index) => {
      const { layer, head } = place(run, index);
      const item = { value: [head, layer, value === null ? 0 : value], index };
      (value === null ? missing : present).push(item);
      panel.indices[value === null ? 1 : 0].push(index);
    });
    const record = frame(run, step).step;
    let facts = run.published ? "published" : `step ${thousands(record)}`;
    if (run.m && !base) {
      const share = (inside) => Math.round(100 * present.filter((item) => inside(item.value[2])).length / panel.values.length);
      facts += ` · overload ${share((value) => value >= run.m * 0.75)}%` +
        ` · collapse ${share((value) => value < run.m / 4)}% · M = ${run.m.toFixed(2)} nats`;
    } else if (base) {
      facts += ` · minus ${base.name}`;
    }
    panel.facts.textContent = facts;
    const names = (count) => Array.from({ length: count }, (_, index) => String(index));
    const wide = panel.place.clientWidth / heads > 34 && panel.place.clientHeight / layers > 16;
    const category = (name, count, more) => axis(Object.assign({
      type: "category", data: names(count), name, splitLine: { show: false }, axisTick: { show: false },
    }, more));
    panel.chart.setOption({
      animation: false,
      aria: { enabled: false },
      grid: { left: 48, right: 70, top: 8, bottom: 44 },
      tooltip: tooltip({ formatter: (item) => safe(told(run, item.data.index, panel)) }),
      xAxis: category("Head", heads, { nameGap: 26 }),
      yAxis: category("Layer", layers, { inverse: true, nameGap: 30 }),
      visualMap: {
        type: "continuous", seriesIndex: 0, min: base ? -reach : 0, max: base ? reach : data.top,
        inRange: { color: base ? data.diverging : data.colors }, orient: "vertical", right: 0, top: "middle",
        itemHeight: 150, itemWidth: 14, calculable: false, precision: 2, hoverLink: false,
        text: [base ? signed(reach) : data.top.toFixed(2), base ? signed(-reach) : "0 nats"],
        textStyle: { color: shade("--quiet") },
      },
      series: [
        { type: "heatmap", data: present, label: { show: wide, formatter: (item) => number(item.value[2], base) },
          itemStyle: { borderColor: shade("--paper"), borderWidth: 1 },
          emphasis: { itemStyle: { borderColor: shade("--ink"), borderWidth: 2 } } },
        { type: "heatmap", data: missing, label: { show: wide, formatter: "NaN", color: shade("--ink") },
          itemStyle: { color: shade("--absent"), borderColor: shade("--paper"), borderWidth: 1 },
          emphasis: { itemStyle: { borderColor: shade("--ink"), borderWidth: 2 } } },
      ],
    }, { replaceMerge: ["series"] });
  }

  function play() {
    clearInterval(playing);
    playing = 0;
    const button = byId("play"), on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? "Stop" : "Play";
    if (!on) return;
    if (Number(slider.value) >= steps.length - 1) slider.value = 0;
    update();
    playing = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      update();
      if (Number(slider.value) >= steps.length - 1) play();
    }, still ? 1000 : 250);
  }

  withHeads.forEach((run, index) => byId("show").append(element("option", `difference: minus ${run.name}`, { value: index })));
  slider.max = Math.max(0, steps.length - 1);
  slider.value = slider.max;
  slider.disabled = byId("play").disabled = steps.length < 2;
  slider.addEventListener("input", update);
  byId("show").addEventListener("change", update);
  byId("play").addEventListener("click", play);
  return update;
})();
