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

// Saves what `address` stands for as a file.
function save(name, address) {
  const link = element("a", undefined, { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function saveBlob(name, blob) {
  const address = URL.createObjectURL(blob);
  save(name, address);
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// Two buttons that save a chart as it is shown: as a PNG with twice its pixels, and as an SVG.
function saveButtons(chart, name) {
  const buttons = element("span", undefined, { class: "buttons save", role: "group", "aria-label": `Save ${name()}` });
  const file = (kind) => `${name().replace(/[^A-Za-z0-9+().-]+/g, "_")}.${kind}`;
  const button = (kind, act) => {
    const made = element("button", kind.toUpperCase(), { type: "button", "data-save": kind, title: `Save this chart as ${kind.toUpperCase()}` });
    made.addEventListener("click", act);
    buttons.append(made);
  };
  button("png", () => save(file("png"), chart.getDataURL({ pixelRatio: 2, backgroundColor: shade("--paper"), excludeComponents: ["dataZoom"] })));
  button("svg", () => {
    const drawn = echarts.init(null, null, { renderer: "svg", ssr: true, width: chart.getWidth(), height: chart.getHeight() });
    drawn.setOption(Object.assign(chart.getOption(), { backgroundColor: shade("--paper"), animation: false }));
    saveBlob(file("svg"), new Blob([drawn.renderToSVGString()], { type: "image/svg+xml;charset=utf-8" }));
    drawn.dispose();
  });
  return buttons;
}

// Lays out the panels of a grid in rows of equal length, as far as their number allows: three and three, not four and two.
function evenRows(grid) {
  const count = grid.childElementCount;
  if (count === 0) return;
  const probe = element("div", undefined, { class: "probe" });
  grid.append(probe);
  const least = probe.getBoundingClientRect().width;
  probe.remove();
  const most = Math.max(1, Math.floor((grid.clientWidth + 16) / (least + 16)));
  const columns = Math.ceil(count / Math.ceil(count / most));
  grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
}

// Panels in a grid, one for each run. A run keeps its panel from one drawing to the next.
function panels(grid) {
  const kept = new Map();
  new ResizeObserver(() => evenRows(grid)).observe(grid);
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
        const place = element("div", undefined, { class: "chart" }), head = element("div", undefined, { class: "head" });
        head.append(element("h3", run.name));
        box.append(head, place);
        grid.append(box);
        kept.set(run, { box, place, chart: makeChart(place) });
        make(run, kept.get(run));
        head.append(saveButtons(kept.get(run).chart, () => `${grid.id.replace("-grid", "")} ${run.name}`));
      }
      grid.append(kept.get(run).box);
    }
    evenRows(grid);
    for (const run of runs) draw(run, kept.get(run));
    return kept;
  };
}
