// Heatmaps of the chosen runs at one step of training, or of their differences from one run.
const showHeatmaps = (() => {
  const withHeads = data.runs.filter((run) => run.heads);
  const steps = [...new Set(withHeads.flatMap((run) => run.heads.steps))].sort((a, b) => a - b);
  const draw = panels(byId("heatmap-grid"));
  const slider = byId("step");
  // Margins around the cells, and the smallest cell that fits its number. Up to `MOST` heads or layers are given that size.
  const FRAME = { left: 48, right: 70, top: 8, bottom: 44 }, CELL = { width: 38, height: 20 }, MOST = 32;
  // The height of a bar of colours below the cells, where one beside them would be scrolled out of sight.
  const BAR = 52;
  let playing = 0;

  // The newest frame of a run at `step`, with the frame's own step; the first frame if the run has none yet.
  function frame(run, step) {
    let at = run.heads.steps.length - 1;
    while (at > 0 && run.heads.steps[at] > step) at -= 1;
    return { step: run.heads.steps[at], values: run.heads.frames[at], shares: run.heads.shares[at] };
  }

  // Values of the cells in hundredths of a nat, as shown; null where there is no value.
  function cells(run, base, step) {
    const own = frame(run, step).values;
    if (!base) return own;
    const other = frame(base, step).values;
    return own.map((value, index) => (value === null || other[index] === null ? null : value - other[index]));
  }

  // Differences have one scale over all of training; otherwise the slider would change what a colour means.
  function largestDifference(runs, base) {
    let most = 1;
    for (const run of runs) {
      for (const step of steps) {
        for (const value of cells(run, base, step)) most = Math.max(most, Math.abs(value || 0));
      }
    }
    return most;
  }

  const sameShape = (run, base) => run.heads.layers === base.heads.layers && run.heads.heads === base.heads.heads;
  // Hundredths as nats, formatted as in the figures.
  const nats = (value) => (Math.abs(value) < 1e6 ? (value / 100).toFixed(2) : (value / 100).toExponential(0).replace("+", "")).replace("-", "−");
  const signed = (value) => (value > 0 ? "+" : "") + nats(value);
  const number = (value, base) => (value === null ? "not finite" : base ? signed(value) : nats(value));

  function place(run, index) {
    const layer = Math.floor(index / run.heads.heads), head = index % run.heads.heads;
    return { layer, head };
  }

  function told(run, index, panel) {
    const { layer, head } = place(run, index);
    return `Layer ${layer}, head ${head}: ${number(panel.values[index], panel.base)}` +
      (panel.values[index] === null ? "" : panel.base ? " nats of difference" : " nats");
  }

  // Sets up a new panel, which reacts to the pointer and the arrow keys.
  function make(run, panel) {
    panel.facts = element("p", "", { class: "note" });
    panel.output = element("output", "", { "aria-live": "polite" });
    // Numbers need a minimum cell size: on a narrow page the chart scrolls inside its panel.
    const scroll = element("div", undefined, { class: "scroll" });
    panel.place.replaceWith(scroll);
    scroll.append(panel.place);
    scroll.before(panel.facts);
    scroll.after(panel.output);
    panel.place.style.minWidth = `${FRAME.left + FRAME.right + CELL.width * Math.min(MOST, run.heads.heads)}px`;
    frameOf(run, panel);
    panel.place.setAttribute("tabindex", "0");
    panel.place.setAttribute("role", "application");
    panel.place.setAttribute("aria-label", `Heatmap of ${run.name}. The arrow keys move from head to head${run.patterns.length > 0 ? "; Enter opens what it reads" : ""}.`);
    panel.at = 0;
    const point = (index) => {
      panel.at = index;
      panel.output.textContent = told(run, index, panel);
    };
    panel.chart.on("mouseover", (event) => { if (event.data) { panel.held = true; point(event.data.index); } });
    panel.chart.on("click", (event) => { if (event.data) openPatterns(run, event.data.index, Number(steps[Number(slider.value)])); });
    panel.chart.on("globalout", () => { panel.held = panel.place === document.activeElement; });
    const show = () => {
      panel.held = true;
      const missing = panel.values[panel.at] === null ? 1 : 0;
      const row = panel.indices[missing].indexOf(panel.at);
      panel.chart.dispatchAction({ type: "downplay" });
      panel.chart.dispatchAction({ type: "highlight", seriesIndex: missing, dataIndex: row });
      panel.chart.dispatchAction({ type: "showTip", seriesIndex: missing, dataIndex: row });
      point(panel.at);
    };
    panel.place.addEventListener("focus", show);
    // Updates the text about a head when its number changes: at another step, or compared with another run.
    panel.retell = () => {
      if (panel.output.textContent === "") return;
      if (panel.held) show();
      else point(panel.at);
    };
    panel.place.addEventListener("blur", () => {
      panel.held = false;
      panel.chart.dispatchAction({ type: "downplay" });
      panel.chart.dispatchAction({ type: "hideTip" });
    });
    panel.place.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && openPatterns(run, panel.at, Number(steps[Number(slider.value)]))) { event.preventDefault(); return; }
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

  // The margins around a panel's cells, and whether the bar of colours is below them.
  function frameOf(run, panel) {
    const below = panel.place.clientWidth > panel.place.parentElement.clientWidth;
    const frame = below ? { left: FRAME.left, right: 12, top: FRAME.top, bottom: FRAME.bottom + BAR } : FRAME;
    const height = `max(22rem, ${frame.top + frame.bottom + CELL.height * Math.min(MOST, run.heads.layers)}px)`;
    panel.place.style.height = height;
    panel.chart.resize();
    return { frame, below };
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
      panel.retell();
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
      const item = { value: [head, layer, value === null ? 0 : value / 100], index };
      if (value !== null) {
        const color = colorAt(base ? data.diverging : data.colors, base ? (value / reach + 1) / 2 : value / data.top);
        item.label = { color: inkOn(color), formatter: number(value, base) };
      }
      (value === null ? missing : present).push(item);
      panel.indices[value === null ? 1 : 0].push(index);
    });
    const record = frame(run, step), lost = run.diverged !== null && step >= run.diverged;
    let facts = run.published ? "published" : lost ? `diverged at step ${thousands(run.diverged)}` : `step ${thousands(record.step)}`;
    if (lost && record.step < run.diverged) facts += ` · heads as they were at step ${thousands(record.step)}`;
    if (base) {
      facts += ` · minus ${base.name}`;
    } else if (run.m && !lost) {
      facts += ` · overload ${record.shares[0]} · collapse ${record.shares[1]} · M = ${run.m} nats`;
    }
    panel.facts.textContent = facts;
    const names = (count) => Array.from({ length: count }, (_, index) => String(index));
    const { frame: margins, below } = frameOf(run, panel);
    const width = (panel.place.clientWidth - margins.left - margins.right) / heads;
    const height = (panel.place.clientHeight - margins.top - margins.bottom) / layers;
    const bar = below
      ? { orient: "horizontal", left: FRAME.left, right: "auto", top: "auto", bottom: 0 }
      : { orient: "vertical", left: "auto", right: 0, top: "middle", bottom: "auto" };
    const wide = width >= CELL.width - 1 && height >= CELL.height - 2;
    const fontSize = Math.min(14, Math.max(11, Math.floor(width * (base ? 0.28 : 0.38))));
    const category = (name, count, more) => axis(Object.assign({
      type: "category", data: names(count), name, splitLine: { show: false }, axisTick: { show: false },
    }, more));
    panel.chart.setOption({
      animation: false,
      aria: { enabled: false },
      grid: margins,
      tooltip: tooltip({ formatter: (item) => safe(told(run, item.data.index, panel)) }),
      xAxis: category("Head", heads, { nameGap: 26 }),
      yAxis: category("Layer", layers, { inverse: true, nameGap: 30 }),
      visualMap: Object.assign(bar, {
        type: "continuous", seriesIndex: 0, min: base ? -reach / 100 : 0, max: (base ? reach : data.top) / 100,
        inRange: { color: base ? data.diverging : data.colors },
        itemHeight: 150, itemWidth: 14, calculable: false, precision: 2, hoverLink: false,
        text: [base ? signed(reach) : nats(data.top), base ? signed(-reach) : "0 nats"],
        textStyle: { color: shade("--quiet") },
      }),
      series: [
        { type: "heatmap", data: present, label: { show: wide, fontSize },
          itemStyle: { borderColor: shade("--paper"), borderWidth: 1 },
          emphasis: { itemStyle: { borderColor: shade("--ink"), borderWidth: 2 } } },
        { type: "heatmap", data: missing, label: { show: wide, formatter: "NaN", fontSize, color: shade("--ink") },
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
  // Panels are wide enough for the cells of the widest run, if the page is.
  const widest = withHeads.reduce((most, run) => Math.max(most, Math.min(MOST, run.heads.heads)), 1);
  byId("heatmap-grid").style.setProperty("--least", `max(25rem, ${FRAME.left + FRAME.right + CELL.width * widest + 28}px)`);
  slider.max = Math.max(0, steps.length - 1);
  slider.value = slider.max;
  slider.disabled = byId("play").disabled = steps.length < 2;
  slider.addEventListener("input", update);
  byId("show").addEventListener("change", update);
  byId("play").addEventListener("click", play);
  return update;
})();
