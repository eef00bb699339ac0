// Curves over training: whole runs in one chart, and the layers of each run in a chart of its own. All charts share one
// zoom.
const showCurves = (() => {
  const curveOf = (key) => data.curves.find((of) => of.key === key);
  const chart = makeChart(byId("curve-chart"));
  const drawLayers = panels(byId("layer-grid"));
  let zoom = { start: 0, end: 100 }, layerPanels = new Map();

  const points = ([x, y], log) => x.map((step, index) => [step, log && !(y[index] > 0) ? null : y[index]]);
  const last = data.runs.reduce((most, run) => Object.values(run.curves).concat(...Object.values(run.layers))
    .reduce((most, [x]) => Math.max(most, x[x.length - 1] || 0), most), 1);

  // Grid, axes, zoom and tooltip of a chart of curves.
  function base(label, log, small) {
    return {
      animation: false,
      grid: { left: small ? 62 : 70, right: 16, top: small ? 12 : 48, bottom: 84 },
      tooltip: tooltip({
        trigger: "axis", order: "seriesAsc",
        // What is drawn faintly, and the ranges of seeds, have no name.
        formatter: (items) => safe(`step ${thousands(items[0].value[0])}`) + items.filter((item) => !/^(raw|low|high) /.test(item.seriesId)).slice(0, 24)
          .map((item) => `<br>${item.marker}${safe(item.seriesName)}: ${safe(shown(item.value[1]))}`).join(""),
      }),
      xAxis: axis({ type: "value", name: "Steps done", nameGap: 28, min: 0, max: last, axisLabel: { color: shade("--quiet"), hideOverlap: true, formatter: thousands } }),
      yAxis: axis({ type: log ? "log" : "value", name: label, nameGap: small ? 46 : 52, scale: true }),
      dataZoom: [
        Object.assign({ type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true, moveOnMouseWheel: false, filterMode: "none" }, zoom),
        Object.assign({ type: "slider", filterMode: "none", height: 22, bottom: 8, textStyle: { color: shade("--quiet") }, showDataShadow: false,
          labelFormatter: (value) => thousands(Math.round(value)) }, zoom),
      ],
    };
  }

  // If a curve goes far beyond where the runs began: the range of the runs that learn, and the points beyond it. Otherwise
  // the chart picks its own range. If all runs diverged, everything is shown.
  function frame(runs, key, log) {
    const reach = data.reach[key], own = ends(runs.flatMap((run) => ends(run.curves[key][1])).filter(Number.isFinite));
    if (log) {
      const [low, high] = ends(runs.flatMap((run) => ends(run.curves[key][1].filter((value) => value > 0))).filter(Number.isFinite));
      const top = reach && reach[1] > 0 && runs.some((run) => run.diverged === null) ? Math.min(high, reach[1]) : high;
      return { range: low <= top ? decades(low, top) : {}, outside: top < high ? beyond(runs, key, 0, decades(low, top).max) : [] };
    }
    if (!reach || !runs.some((run) => run.diverged === null) || !(own[0] < reach[0] || own[1] > reach[1])) return { range: {}, outside: [] };
    const room = ((reach[1] - reach[0]) || Math.abs(reach[1]) || 1) * 0.06;
    const range = { min: Math.max(own[0], reach[0] - room), max: Math.min(own[1], reach[1] + room), axisLabel: { color: shade("--quiet"), formatter: shown, showMinLabel: false, showMaxLabel: false } };
    return { range, outside: beyond(runs, key, range.min, range.max) };
  }

  // For each run that leaves the frame, its farthest point: run, value, step.
  function beyond(runs, key, min, max) {
    const found = [];
    for (const run of runs) {
      const [x, y] = run.curves[key];
      let at = -1;
      y.forEach((value, index) => {
        if (value !== null && (value > max || value < min) && (at < 0 || Math.abs(value) > Math.abs(y[at]))) at = index;
      });
      if (at >= 0) found.push([run.name, y[at], x[at]]);
    }
    return found;
  }

  // A curve to draw: its name, runs, colour, what is drawn strongly, what faintly behind it, and the range of its seeds.
  function curvesOf(runs, key) {
    const raw = byId("curve-raw").checked;
    const line = (run) => ({ name: run.name, run, strong: (!raw && run.smooth[key]) || run.curves[key], faint: raw ? null : run.smooth[key] && run.curves[key] });
    if (!byId("curve-band").checked) return runs.map(line);
    const groups = [...new Set(runs.map((run) => run.group))];
    return groups.flatMap((group) => {
      // A run that diverged would make the range of its seeds meaningless.
      const all = runs.filter((run) => run.group === group), seeds = all.filter((run) => run.diverged === null);
      const others = all.filter((run) => run.diverged !== null).map(line);
      if (seeds.length < 2) return seeds.map(line).concat(others);
      return [{ name: `${group}, ${seeds.length} seeds`, run: seeds[0], ...rangeOfSeeds(seeds.map((run) => (line(run).strong))) }].concat(others);
    });
  }

  // The mean and the range of several curves, at the steps of the longest.
  function rangeOfSeeds(curves) {
    const x = curves.reduce((most, curve) => (curve[0].length > most[0].length ? curve : most))[0];
    const at = ([steps, values]) => {
      let right = 0;
      return x.map((step) => {
        while (right < steps.length && steps[right] < step) right += 1;
        if (right === steps.length || (right === 0 && steps[0] > step)) return null;
        if (steps[right] === step || right === 0) return values[right];
        const [low, high] = [values[right - 1], values[right]];
        return low === null || high === null ? null : low + (high - low) * (step - steps[right - 1]) / (steps[right] - steps[right - 1]);
      });
    };
    const columns = curves.map(at);
    const rows = x.map((_, index) => columns.map((column) => column[index]).filter((value) => value !== null));
    const of = (take) => [x, rows.map((row) => (row.length === 0 ? null : take(row)))];
    return { strong: of((row) => row.reduce((sum, value) => sum + value, 0) / row.length), low: of((row) => Math.min(...row)), high: of((row) => Math.max(...row)) };
  }

  function drawWhole() {
    const key = byId("curve").value, log = byId("curve-log").checked;
    const runs = picked().filter((run) => run.curves[key]);
    const { range, outside } = frame(runs, key, log);
    const drawn = runs.length === 0 ? [] : curvesOf(runs, key);
    const silent = { type: "line", symbol: "none", silent: true, connectNulls: false, emphasis: { disabled: true }, tooltip: { show: false } };
    const series = drawn.flatMap(({ name, run, strong, faint, low, high }, index) => {
      const color = colorOf(run);
      const line = {
        type: "line", name, data: points(strong, log), symbol: "circle", connectNulls: false, z: 3,
        showSymbol: curveOf(key).points || strong[0].length === 1,
        lineStyle: { color, width: 1.8, type: run.dash ? "dashed" : "solid" }, itemStyle: { color },
        emphasis: { disabled: true },
      };
      if (key === "loss" && run.diverged !== null) {
        // At the last point before the divergence, or at the first point, clamped to the frame.
        const [x, y] = run.curves.loss;
        const lost = x.findIndex((step) => step >= run.diverged), at = Math.max(0, lost - 1);
        if (y[at] !== null && !(log && y[at] <= 0)) {
          line.markPoint = {
            symbol: "pin", symbolSize: 34, label: { formatter: "lost", fontSize: 9 }, itemStyle: { color },
            data: [{ coord: [x[at], range.max === undefined ? y[at] : Math.min(range.max, y[at])] }],
          };
        }
      }
      const made = [line];
      if (faint) made.push({ ...silent, id: `raw ${index}`, data: points(faint, log), z: 2, lineStyle: { color, width: 1, opacity: 0.25 } });
      if (low) {
        // The range is an area between two lines: the lower one, unseen, and the distance to the upper one on top of it.
        const size = [low[0], low[1].map((value, at) => (value === null ? null : high[1][at] - value))];
        const stack = { ...silent, stack: `seeds ${index}`, stackStrategy: "all", lineStyle: { opacity: 0 }, z: 1 };
        made.push({ ...stack, id: `low ${index}`, data: points(low, log) });
        made.push({ ...stack, id: `high ${index}`, data: size[0].map((step, at) => [step, low[1][at] === null || (log && low[1][at] <= 0) ? null : size[1][at]]), areaStyle: { color, opacity: 0.18 } });
      }
      return made;
    });
    const several = data.runs.some((run) => data.runs.some((other) => other !== run && other.group === run.group && other.diverged === null && run.diverged === null));
    byId("curve-band").disabled = !several;
    byId("curve-raw").disabled = !runs.some((run) => run.smooth[key]);
    byId("curve-note").textContent = outside.length === 0 ? "" :
      `Beyond the frame: ${outside.map(([name, value, step]) => `${name} with ${shown(value)} at step ${thousands(step)}`).join("; ")}.`;
    const whole = base(curveOf(key)?.title ?? "", log, false);
    Object.assign(whole.yAxis, range);
    chart.setOption(Object.assign(whole, {
      legend: { type: "scroll", top: 8, textStyle: { color: shade("--ink") }, pageTextStyle: { color: shade("--ink") }, data: drawn.map((curve) => curve.name) },
      series,
    }), { notMerge: true });
  }

  // The scale of layers is in the page's data: each of its colours can be seen on white and on black.
  function layerColor(layer, depth) {
    const [red, green, blue] = colorAt(data.layers, layer / Math.max(1, depth - 1));
    return `rgb(${red}, ${green}, ${blue})`;
  }

  // One vertical range for all runs, so that charts can be compared; whole decades on a logarithmic axis.
  function rangeOf(runs, quantity) {
    let low = Infinity, high = -Infinity;
    const take = (value) => { low = Math.min(low, value); high = Math.max(high, value); };
    // Values of a run that no longer learns would compress all other curves.
    const learns = (run, step) => run.diverged === null || step < run.diverged;
    const some = runs.some((run) => run.layers[quantity.key].some(([x]) => x.some((step) => learns(run, step))));
    for (const run of runs) {
      for (const [x, y] of run.layers[quantity.key]) {
        y.forEach((value, index) => {
          if (value !== null && !(quantity.log && value <= 0) && (!some || learns(run, x[index]))) take(value);
        });
      }
      if (quantity.ceiling && run.ceiling !== null) take(run.ceiling);
      if (quantity.zero) take(0);
    }
    if (low > high) return {};
    if (quantity.log) return decades(low, high);
    // The ceiling's name stands above its line.
    const room = quantity.ceiling ? high * 0.1 : (high - low || 1) * 0.06;
    return { min: quantity.zero || low < 0 ? low - room : 0, max: high + room, axisLabel: { color: shade("--quiet"), formatter: shown, showMinLabel: !quantity.zero && low >= 0, showMaxLabel: false } };
  }

  function drawEveryLayer() {
    const quantity = data.quantities.find((of) => of.key === byId("quantity").value);
    const runs = quantity ? picked().filter((run) => run.layers[quantity.key]) : [];
    const range = quantity ? rangeOf(runs, quantity) : {};
    layerPanels = drawLayers(runs, (run, panel) => {
      panel.place.setAttribute("role", "img");
      follow(panel.chart);
    }, (run, panel) => {
      const lines = run.layers[quantity.key];
      panel.place.setAttribute("aria-label", `${quantity.title}: ${run.name}`);
      const series = lines.map((line, layer) => ({
        type: "line", name: lines.length === 1 ? "all layers" : `layer ${layer}`, data: points(line, quantity.log), connectNulls: false,
        showSymbol: line[0].length === 1, symbol: "circle", lineStyle: { width: 1.5, color: layerColor(layer, lines.length) },
        itemStyle: { color: layerColor(layer, lines.length) }, emphasis: { disabled: true },
      }));
      const level = quantity.zero ? 0 : quantity.ceiling ? run.ceiling : null;
      if (level !== null && series.length > 0) {
        series[0].markLine = {
          symbol: "none", silent: true, lineStyle: { color: shade("--quiet"), type: "dashed" }, data: [{ yAxis: level }],
          label: { formatter: quantity.zero ? "0" : "ceiling", position: "insideEndTop", color: shade("--quiet") },
        };
      }
      const options = Object.assign(base(quantity.label, quantity.log, true), { series });
      Object.assign(options.yAxis, range);
      panel.chart.setOption(options, { notMerge: true });
    });
  }

  // Charts that are zoomed together.
  const charts = () => [chart, ...[...layerPanels.values()].map((panel) => panel.chart)];
  function zoomTo(start, end, from) {
    zoom = { start: Math.max(0, start), end: Math.min(100, end) };
    for (const other of charts()) {
      if (other !== from) other.dispatchAction({ type: "dataZoom", start: zoom.start, end: zoom.end, batch: undefined, told: true });
    }
  }
  function follow(of) {
    let own = false;
    of.on("datazoom", () => {
      const now = of.getOption().dataZoom[0];
      if (own || (Math.abs(now.start - zoom.start) < 0.01 && Math.abs(now.end - zoom.end) < 0.01)) return;
      own = true;
      zoomTo(now.start, now.end, of);
      own = false;
    });
  }
  function zoomBy(kind) {
    const { start, end } = zoom, size = end - start, middle = (start + end) / 2;
    if (kind === "in") zoomTo(middle - size / 4, middle + size / 4);
    if (kind === "out") zoomTo(middle - size, middle + size);
    if (kind === "left") zoomTo(Math.max(0, start - size / 2), Math.max(size, end - size / 2));
    if (kind === "right") zoomTo(Math.min(100 - size, start + size / 2), Math.min(100, end + size / 2));
    if (kind === "all") zoomTo(0, 100);
  }

  for (const { key, title } of data.curves) {
    if (data.runs.some((run) => run.curves[key])) byId("curve").append(element("option", title, { value: key }));
  }
  for (const quantity of data.quantities) {
    if (data.runs.some((run) => run.layers[quantity.key])) byId("quantity").append(element("option", quantity.title, { value: quantity.key }));
  }
  follow(chart);
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoomBy(button.dataset.zoom));
  byId("curve").addEventListener("change", () => { byId("curve-log").checked = curveOf(byId("curve").value).log; drawWhole(); });
  for (const id of ["curve-log", "curve-raw", "curve-band"]) byId(id).addEventListener("change", drawWhole);
  byId("curve-save").append(saveButtons(chart, () => `curve ${byId("curve").value}`));
  byId("quantity").addEventListener("change", drawEveryLayer);
  return () => { drawWhole(); drawEveryLayer(); };
})();
