// The view of attention patterns: all heads as small triangles, and one head token by token.
// `data` is what `pattern::data` in src/pattern/page.rs says; text from files is never parsed as HTML.
function showPatterns(place, data) {
  const { tokens, heads } = data, count = tokens.length, all = data.weights.length;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const state = { head: 0, query: count - 1, kept: count - 1, readers: false };
  // A small picture has no more entries a side; the matrix of the chosen head has all.
  const MOST = 128;

  function make(tag, className, text, attributes) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    return made;
  }

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const share = (byte) => (byte / 255) ** 2;
  const start = (query) => (query * (query + 1)) / 2;
  // Two digits that matter.
  const digits = (value) => (value >= 0.0995 ? value.toFixed(2) : value >= 0.00095 ? value.toFixed(3) : value > 0 ? "<0.001" : "0");
  const nats = (value) => (value === null ? "not finite" : value.toFixed(2));
  const named = (head) => `Layer ${Math.floor(head / heads)}, head ${head % heads}`;
  const plain = (token) => (token.trim() === "" && !/[\n\t\r]/.test(token) ? token.replace(/ /g, "␣") || "∅" : token)
    .replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/\r/g, "␍");
  const quoted = (token) => (tokens[token] === "" ? "(part of a character)" : `“${plain(tokens[token])}”`);

  // The colours of the 256 bytes, and black or white, whichever is read more easily on each.
  let colours = [], inks = [];
  function mix() {
    const scale = (dark.matches ? data.colours.dark : data.colours.light)
      .map((colour) => [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16)));
    colours = Array.from({ length: 256 }, (_, byte) => {
      const at = (byte / 255) ** (2 / 3) * (scale.length - 1), low = Math.min(Math.floor(at), scale.length - 2);
      return scale[low].map((channel, index) => Math.round(channel + (scale[low + 1][index] - channel) * (at - low)));
    });
    const linear = (channel) => (channel / 255 <= 0.04045 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
    inks = colours.map(([red, green, blue]) =>
      (0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue) > 0.179 ? "#000000" : "#ffffff"));
  }
  const css = (colour) => `rgb(${colour.join(" ")})`;

  // A head's triangle as an image of at most `most` entries a side, each the largest weight of its square.
  function triangle(weights, most) {
    const side = Math.min(count, most), image = new ImageData(side, side);
    const largest = new Int16Array(side * side).fill(-1);
    for (let query = 0, at = 0; query < count; query += 1) {
      const row = Math.floor((query * side) / count) * side;
      for (let key = 0; key <= query; key += 1, at += 1) {
        const entry = row + Math.floor((key * side) / count);
        if (weights[at] > largest[entry]) largest[entry] = weights[at];
      }
    }
    largest.forEach((byte, entry) => { if (byte >= 0) image.data.set([...colours[byte], 255], 4 * entry); });
    return image;
  }

  // The chosen head's weights.
  let chosen = bytes(data.weights[0]), sunk = null;

  const root = make("div", "patterns");
  const bar = make("div", "patterns-bar");
  const sorting = make("select");
  for (const [value, text] of [["layer", "layer by layer"], ["low", "lowest entropy first"], ["high", "highest entropy first"]]) {
    sorting.append(make("option", "", text, { value }));
  }
  const shading = make("select");
  for (const [value, text] of [["reads", "what the token reads"], ["readers", "what reads the token"]]) {
    shading.append(make("option", "", text, { value }));
  }
  const labelled = (text, control) => { const label = make("label", "", `${text} `); label.append(control); return label; };
  bar.append(labelled("Heads", sorting), labelled("Shade by", shading));

  const one = make("section", "patterns-one", undefined, { "aria-label": "One head" });
  const title = make("h3", "", "", { "aria-live": "polite" });
  const told = make("p", "patterns-told", "", { "aria-live": "polite" });
  const text = make("div", "patterns-text", undefined, {
    tabindex: "0", role: "application", "aria-label": "The text. The arrow keys move from token to token.",
  });
  const frame = make("div", "patterns-matrix");
  const matrix = make("canvas", "", undefined, { role: "img" });
  frame.append(matrix);
  const legend = make("p", "patterns-note", "Rows are tokens that read, columns tokens that are read. The bars are each row’s entropy; the line is ln of the number of tokens that it can read, the most there is. Colours grow with the cube root of the weight.");
  one.append(title, told, text, frame, legend);

  const grid = make("section", "patterns-all", undefined, { "aria-label": "All heads" });
  const layout = make("div", "patterns-layout");
  layout.append(one, grid);
  root.append(bar, layout);

  // The text: a span for each token; a line ends after a token with a line end.
  const spans = tokens.map((token, index) => {
    const span = make("span", "", /^\n+$/.test(token) ? "⏎".repeat(token.length) : token.replace(/\t/g, "⇥\t"));
    span.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") look(index); });
    span.addEventListener("click", () => keep(index));
    text.append(span);
    if (/\n/.test(token) && /^\n+$/.test(token)) text.append(make("br"));
    return span;
  });
  text.addEventListener("pointerleave", () => look(state.kept));
  text.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -count, End: count }[event.key];
    if (!step) return;
    event.preventDefault();
    keep(Math.min(count - 1, Math.max(0, state.kept + step)));
  });

  // Small triangles, drawn when they come into view.
  const boxes = data.weights.map((_, head) => {
    const box = make("button", "", undefined, { type: "button", tabindex: "-1" });
    const side = Math.min(count, MOST), canvas = make("canvas", "", undefined, { width: side, height: side, "aria-hidden": "true" });
    canvas.style.imageRendering = side > 64 ? "auto" : "pixelated";
    box.append(canvas, make("span", "", `${Math.floor(head / heads)}.${head % heads}`), make("b", "", nats(data.means[head])));
    box.setAttribute("aria-label", `${named(head)}, mean entropy ${nats(data.means[head])} nats`);
    box.title = box.getAttribute("aria-label");
    box.addEventListener("click", () => choose(head, true));
    return box;
  });
  const seen = new Set();
  const draw = (head) => boxes[head].firstChild.getContext("2d").putImageData(triangle(bytes(data.weights[head]), MOST), 0, 0);
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const head = boxes.indexOf(entry.target);
      if (entry.isIntersecting && !seen.has(head)) { seen.add(head); draw(head); }
    }
  }, { rootMargin: "300px" });
  boxes.forEach((box) => watcher.observe(box));
  grid.style.setProperty("--heads", heads);
  let order = [];
  function sort() {
    const mean = (head) => (data.means[head] === null ? Infinity : data.means[head]);
    order = Array.from({ length: all }, (_, head) => head);
    const way = sorting.value;
    if (way !== "layer") order.sort((a, b) => (way === "low" ? mean(a) - mean(b) : mean(b) - mean(a)) || a - b);
    grid.classList.toggle("by-layer", way === "layer");
    grid.append(...order.map((head) => boxes[head]));
  }
  grid.addEventListener("keydown", (event) => {
    const row = sorting.value === "layer" ? heads : 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row }[event.key];
    const next = step && order[order.indexOf(state.head) + step];
    if (next === undefined || !step) return;
    event.preventDefault();
    choose(next, false);
    boxes[next].focus();
  });
  sorting.addEventListener("change", sort);
  shading.addEventListener("change", () => { state.readers = shading.value === "readers"; shade(); });

  function choose(head, scroll) {
    boxes[state.head].setAttribute("aria-pressed", "false");
    boxes[state.head].tabIndex = -1;
    state.head = head;
    boxes[head].setAttribute("aria-pressed", "true");
    boxes[head].tabIndex = 0;
    chosen = bytes(data.weights[head]);
    sunk = data.sinks ? bytes(data.sinks[head]) : null;
    title.textContent = `${named(head)}: mean entropy ${nats(data.means[head])} nats`;
    matrix.setAttribute("aria-label", `Attention pattern of ${named(head)}`);
    paint();
    shade();
    // Where the chosen head is not beside the others, it may be out of sight.
    if (scroll && one.getBoundingClientRect().bottom < 120) one.scrollIntoView({ block: "start" });
  }

  const look = (query) => { state.query = query; shade(); mark(); };
  // The chosen token stays in sight inside its box, which does not move the page.
  const keep = (query) => {
    state.kept = query;
    look(query);
    const box = text.getBoundingClientRect(), token = spans[query].getBoundingClientRect();
    if (token.top < box.top || token.bottom > box.bottom) text.scrollTop += token.top - box.top - box.height / 2;
  };

  // Weight bytes of the shaded tokens: those that the query reads, or those that read it.
  function row() {
    const own = new Int16Array(count).fill(-1);
    if (state.readers) for (let reader = state.query; reader < count; reader += 1) own[reader] = chosen[start(reader) + state.query];
    else for (let key = 0; key <= state.query; key += 1) own[key] = chosen[start(state.query) + key];
    return own;
  }

  function shade() {
    const own = row();
    spans.forEach((span, index) => {
      const byte = own[index];
      span.style.backgroundColor = byte > 0 ? css(colours[byte]) : "";
      span.style.color = byte > 0 ? inks[byte] : "";
      span.classList.toggle("unseen", byte < 0);
      span.classList.toggle("query", index === state.query);
      span.title = byte < 0 ? "" : `${quoted(index)} ${digits(share(byte))}`;
    });
    const most = [...own.keys()].filter((index) => own[index] > 0).sort((a, b) => own[b] - own[a] || a - b).slice(0, 5);
    const entropy = data.entropies[state.head][state.query];
    const list = most.map((index) => `${quoted(index)} ${digits(share(own[index]))}`).join(", ");
    const sink = sunk && !state.readers ? `, and the sink ${digits(share(sunk[state.query]))}` : "";
    told.textContent = `Token ${state.query}, ${quoted(state.query)}, ${state.readers ? "is read by" : "reads"} ${list || "nothing"}${sink}. ` +
      (entropy === null ? "Its row is not finite." : `Entropy ${nats(entropy)} of at most ${nats(Math.log(state.query + 1))} nats.`);
  }

  // The matrix with its bars. `area` is where the triangle lies, in CSS pixels.
  let picture = null, area = { side: 0, bars: 0 };
  function paint() {
    const wide = frame.clientWidth || 300, side = Math.floor(Math.min(wide * 0.8, 560)), bars = Math.max(30, Math.min(110, wide - side - 8));
    area = { side, bars };
    picture = document.createElement("canvas");
    picture.width = picture.height = count;
    picture.getContext("2d").putImageData(triangle(chosen, count), 0, 0);
    mark();
  }

  function mark() {
    if (!picture) return;
    const { side, bars } = area, density = window.devicePixelRatio || 1, style = getComputedStyle(root);
    const shown = (name) => style.getPropertyValue(name).trim();
    matrix.width = Math.round((side + 8 + bars) * density);
    matrix.height = Math.round(side * density);
    matrix.style.width = `${side + 8 + bars}px`;
    matrix.style.height = `${side}px`;
    const pen = matrix.getContext("2d"), tall = side / count;
    pen.scale(density, density);
    pen.imageSmoothingEnabled = count > side * density;
    pen.drawImage(picture, 0, 0, side, side);
    const top = Math.log(Math.max(2, count)), left = side + 8;
    const length = (entropy) => (Math.min(entropy, top) / top) * bars;
    pen.fillStyle = shown("--quiet");
    pen.globalAlpha = 0.45;
    data.entropies[state.head].forEach((entropy, query) => {
      if (entropy !== null) pen.fillRect(left, query * tall, length(entropy), tall);
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = shown("--line");
    pen.beginPath();
    for (let query = 0; query < count; query += 1) pen.lineTo(left + length(Math.log(query + 1)), (query + 0.5) * tall);
    pen.stroke();
    pen.strokeStyle = shown("--accent");
    pen.lineWidth = 1.5;
    const at = state.query * tall, thick = Math.max(tall, 2);
    pen.strokeRect(0.75, at, side + 6.5 + bars, thick);
  }

  const queryAt = (event) => {
    const box = matrix.getBoundingClientRect();
    return Math.min(count - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * count)));
  };
  matrix.addEventListener("pointermove", (event) => {
    look(queryAt(event));
    const box = matrix.getBoundingClientRect(), key = Math.floor(((event.clientX - box.left) / area.side) * count);
    matrix.title = key >= 0 && key <= state.query
      ? `${quoted(state.query)} reads ${quoted(key)}: ${digits(share(chosen[start(state.query) + key]))}` : "";
  });
  matrix.addEventListener("pointerleave", () => look(state.kept));
  matrix.addEventListener("click", (event) => keep(queryAt(event)));

  function repaint() {
    mix();
    seen.forEach(draw);
    choose(state.head, false);
  }
  dark.addEventListener("change", repaint);
  mix();
  sort();
  place.replaceChildren(root);
  // The head that looks least widely says most.
  const mean = (head) => (data.means[head] === null ? Infinity : data.means[head]);
  choose(order.reduce((least, head) => (mean(head) < mean(least) ? head : least), order[0]), false);
  keep(state.kept);
  new ResizeObserver(paint).observe(frame);
  // For whoever opens the view at one head, or asks which is chosen.
  choose.head = () => state.head;
  return choose;
}
