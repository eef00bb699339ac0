// What all charts share: colours of the page, and charts that live as long as their place in the page.
const shade = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

// Axis of numbers or names in the page's colours.
function axis(options) {
  const ink = shade("--ink"), quiet = shade("--quiet");
  return Object.assign({
    nameLocation: "middle", nameTextStyle: { color: ink, fontSize: 13 },
    axisLine: { show: true, lineStyle: { color: quiet } }, axisLabel: { color: quiet, hideOverlap: true },
    axisTick: { lineStyle: { color: quiet } }, splitLine: { lineStyle: { color: shade("--line") } },
  }, options);
}

function tooltip(options) {
  return Object.assign({
    backgroundColor: shade("--panel"), borderColor: shade("--line"), textStyle: { color: shade("--ink"), fontSize: 13 },
    confine: true, transitionDuration: 0,
  }, options);
}

const colorOf = (run) => (run.color === BLACK ? shade("--ink") : run.color);

// Text for a tooltip, which ECharts takes as HTML.
const safe = (text) => echarts.format.encodeHTML(String(text));

// A number with as many digits as one reads.
function shown(value) {
  if (value === null || value === undefined) return "not finite";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(3);
  return String(Number(value.toPrecision(5)));
}

function makeChart(place) {
  const chart = echarts.init(place, null, { renderer: "canvas" });
  new ResizeObserver(() => chart.resize()).observe(place);
  return chart;
}

// Panels in a grid, one for each run, kept from one drawing to the next by the run's name.
function panels(grid) {
  const kept = new Map();
  return (runs, make, draw) => {
    for (const [run, panel] of kept) {
      if (!runs.includes(run)) {
        panel.chart.dispose();
        panel.box.remove();
        kept.delete(run);
      }
    }
    for (const run of runs) {
      if (!kept.has(run)) {
        const box = element("figure", undefined, { class: "panel" });
        const place = element("div", undefined, { class: "chart" });
        box.append(element("h3", run.name), place);
        grid.append(box);
        kept.set(run, { box, place, chart: makeChart(place) });
        make(run, kept.get(run));
      }
      grid.append(kept.get(run).box);
      draw(run, kept.get(run));
    }
    return kept;
  };
}
