// Shared by all charts: the page's colours, and charts that live as long as their place in the page.
const shade = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

// An axis of numbers or names, in the page's colours.
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

// A number with as many digits as a reader needs.
function shown(value) {
  if (value === null || value === undefined) return "not finite";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(3);
  return String(Number(value.toPrecision(5)));
}

// Black or white, whichever is more readable on a colour. By WCAG, the contrast of the better one is never below 4.58.
function inkOn([red, green, blue]) {
  const linear = (channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue) > 0.179 ? "#000000" : "#ffffff";
}

// The colour at a fraction, 0 to 1, of a colour scale.
function colorAt(colors, part) {
  const at = Math.min(1, Math.max(0, part)) * (colors.length - 1), below = Math.min(Math.floor(at), colors.length - 2);
  const channels = (color) => [1, 3, 5].map((from) => parseInt(color.slice(from, from + 2), 16));
  const [low, high] = [channels(colors[below]), channels(colors[below + 1])];
  return low.map((channel, index) => Math.round(channel + (high[index] - channel) * (at - below)));
}

// The powers of ten around two positive numbers, clamped so that they stay numbers one can divide by.
function decades(low, high) {
  const power = (value, round) => 10 ** Math.min(300, Math.max(-300, round(Math.log10(value))));
  return { min: power(low, Math.floor), max: power(high, Math.ceil) };
}

function makeChart(place) {
  const chart = echarts.init(place, null, { renderer: "canvas" });
  new ResizeObserver(() => chart.resize()).observe(place);
  return chart;
}

// Panels in a grid, one for each run. A run keeps its panel from one drawing to the next.
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
