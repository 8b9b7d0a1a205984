// A micrograph with its picks: pan, zoom, contrast, threshold and ruler without the kernel.
const STYLE = `
.nb-micrograph { position: relative; }
.nb-micrograph canvas { width: 100%; display: block; border-radius: 4px; cursor: grab; touch-action: none; background: var(--nb-soft); }
.nb-micrograph canvas:active { cursor: grabbing; }
.nb-micrograph canvas.nb-aims { cursor: crosshair; }
.nb-micrograph .nb-none { position: absolute; inset: 40% 0 auto; text-align: center; color: var(--nb-muted); }
.nb-image-tools { display: flex; flex-wrap: wrap; gap: 6px 12px; align-items: center; padding-top: 10px; color: var(--nb-muted); font-size: 12px; min-height: 26px; }
.nb-image-tools b { color: var(--nb-text); font-weight: 600; }
.nb-image-tools label { display: flex; gap: 8px; align-items: center; }
.nb-image-tools input[type=range] { width: 66px; accent-color: var(--nb-accent); }
.nb-image-tools output { min-width: 44px; }
.nb-scores { display: inline-block; width: 40px; height: 8px; border-radius: 4px; background: linear-gradient(90deg, hsl(32 90% 58%), hsl(60 85% 55%), hsl(150 80% 50%)); }
.nb-image-tools [hidden] { display: none !important; }
`;
// Rows of picks: x, y, score, and one of these.
const ADDED = 1, REMOVED = 2, ROW = 4;
const HINTS = {
  ruler: "drag to measure", add: "click a particle to add it", remove: "click a circle to remove it",
};

const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
};

function toolButton(text, title, action, name = "") {
  return element("button", { className: `nb-button jupyter-button ${name}`, textContent: text, title, onclick: action });
}

function slider(name, min, max, step, value, changed) {
  const input = element("input", { type: "range", min, max, step, value, className: `nb-${name}` });
  input.addEventListener("input", () => changed(Number(input.value)));
  return input;
}

// The nicest round length near a fifth of the width, Å.
function scaleBar(width) {
  const wanted = width / 5;
  const power = 10 ** Math.floor(Math.log10(wanted));
  return power * [5, 2.5, 2, 1].find((step) => step * power <= wanted);
}

function length(angstrom) {
  const whole = angstrom.toLocaleString("en", { maximumFractionDigits: angstrom < 100 ? 1 : 0 });
  return `${whole} Å = ${(angstrom / 10).toLocaleString("en", { maximumFractionDigits: angstrom < 1000 ? 1 : 0 })} nm`;
}

function render({ model, el }) {
  const canvas = element("canvas", { className: "nb-micrograph-canvas", tabIndex: 0 });
  canvas.setAttribute("aria-label", "micrograph with its particles");
  const none = element("div", { className: "nb-none" });
  const shown = element("b", { className: "nb-pick-count" });
  const byHand = element("span", { className: "nb-by-hand" });
  const least = element("output");
  const hint = element("span", { className: "nb-mode-hint" });
  // threshold null: the one that the micrograph was picked with.
  const view = { scale: 1, x: 0, y: 0, contrast: 1, threshold: null, circles: true, mode: "", ruler: null };
  let bitmap = null, picture = null, picks = new Float32Array(), marked = new Float32Array(), low = 0, high = 1, waiting = null;

  const modes = Object.fromEntries(Object.keys(HINTS).map((mode) => [
    mode, toolButton(mode, HINTS[mode], () => choose(view.mode === mode ? "" : mode), `nb-mode-${mode}`),
  ]));
  function choose(mode) {
    view.mode = mode;
    view.ruler = null;
    for (const [name, made] of Object.entries(modes)) {
      made.classList.toggle("nb-on", name === mode);
      made.setAttribute("aria-pressed", name === mode);
    }
    canvas.classList.toggle("nb-aims", Boolean(mode));
    hint.textContent = HINTS[mode] || "";
    draw();
  }
  const threshold = slider("threshold", 0, 1, 0.01, 0, (value) => { view.threshold = value; draw(); });
  threshold.setAttribute("aria-label", "least score");
  const asPicked = toolButton("as picked", "Back to the threshold it was picked with", () => {
    view.threshold = null;
    readPicks();
    draw();
  }, "nb-as-picked");
  const use = toolButton("use…", "Pick the whole session with this threshold", () => model.send({ threshold: view.threshold }), "nb-use-threshold");
  const circles = element("input", { type: "checkbox", checked: true });
  circles.addEventListener("change", () => { view.circles = circles.checked; draw(); });
  const tools = element("div", { className: "nb-image-tools" },
    element("span", { className: "nb-group" },
      toolButton("fit", "Whole micrograph", () => { fit(); draw(); }),
      toolButton("1:1", "One pixel of the picture on one of the screen", () => { zoom(1 / (perPixel() * view.scale), canvas.width / 2, canvas.height / 2); }),
      ...Object.values(modes)),
    element("label", {}, "contrast", slider("contrast", 0.3, 3, 0.05, 1, (value) => { view.contrast = value; draw(); })),
    element("label", {}, "picks", circles),
    element("label", {}, "≥", threshold, least),
    element("span", { className: "nb-group" }, asPicked, use),
    shown, byHand, hint,
    element("span", { title: "Colour of a circle: its score" }, "score ", element("i", { className: "nb-scores" })));
  el.append(element("style", { textContent: STYLE }), element("div", { className: "nb-micrograph" }, canvas, none), tools);

  const sides = () => [model.get("width") || 1, model.get("height") || 1];
  const perPixel = () => (bitmap ? sides()[0] / bitmap.width : 1);
  const ratio = () => (canvas.clientWidth ? canvas.width / canvas.clientWidth : 1);
  const limit = () => view.threshold ?? model.get("threshold");
  const counts = (i) => picks[i + 3] === ADDED || (picks[i + 3] !== REMOVED && picks[i + 2] > limit());

  // view.scale is canvas px per micrograph px; view.x, y the micrograph point at the canvas's corner.
  function fit() {
    const [width, height] = sides();
    view.sides = sides().join();
    view.scale = Math.min(canvas.width / width, canvas.height / height);
    view.x = (width - canvas.width / view.scale) / 2;
    view.y = (height - canvas.height / view.scale) / 2;
  }

  function resize() {
    const [width, height] = sides();
    const room = el.clientWidth;
    if (!room) return;
    const dots = window.devicePixelRatio || 1;
    const tall = Math.min(room * height / width, Math.max(360, window.innerHeight - 250));
    const [w, h] = [Math.round(room * dots), Math.round(tall * dots)];
    if (w === canvas.width && h === canvas.height) return;
    canvas.width = w;
    canvas.height = h;
    canvas.style.height = `${tall}px`;
    fit();
    draw();
  }

  function draw() {
    const context = canvas.getContext("2d");
    const [width, height] = sides();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    none.textContent = bitmap ? "" : model.get("waiting");
    const editable = model.get("editable"), picked = picks.length > 0 || model.get("threshold") !== null;
    for (const made of [modes.add, modes.remove]) made.hidden = !editable || !picked;
    asPicked.hidden = view.threshold === null;
    use.hidden = view.threshold === null || !editable;
    if (!bitmap) { shown.textContent = byHand.textContent = ""; return; }
    context.imageSmoothingEnabled = view.scale * perPixel() < 3;
    context.filter = view.contrast === 1 ? "none" : `contrast(${view.contrast})`;
    context.drawImage(bitmap, -view.x * view.scale, -view.y * view.scale, width * view.scale, height * view.scale);
    context.filter = "none";
    context.save();
    context.beginPath();
    context.rect(-view.x * view.scale, -view.y * view.scale, width * view.scale, height * view.scale);
    context.clip();
    drawPicks(context);
    context.restore();
    drawScale(context, width);
    if (view.ruler) drawRuler(context);
  }

  const onCanvas = (x, y) => [(x - view.x) * view.scale, (y - view.y) * view.scale];

  function drawPicks(context) {
    const radius = model.get("radius_px") * view.scale, dots = window.devicePixelRatio || 1;
    let count = 0, added = 0, removed = 0;
    context.lineWidth = 1.5 * dots;
    function circle(x, y, colour, dashes = []) {
      if (!view.circles) return;
      context.setLineDash(dashes.map((d) => d * dots));
      context.strokeStyle = colour;
      context.beginPath();
      context.arc(...onCanvas(x, y), radius, 0, 2 * Math.PI);
      context.stroke();
    }
    for (let i = 0; i < picks.length; i += ROW) {
      const [x, y, score, kind] = picks.subarray(i, i + ROW);
      removed += kind === REMOVED;
      if (kind === REMOVED && view.mode) circle(x, y, "#ee6a5b", [2, 5]);
      if (!counts(i)) continue;
      count += 1;
      added += kind === ADDED;
      const share = high > low ? Math.min(1, Math.max(0, (score - low) / (high - low))) : 1;
      circle(x, y, kind === ADDED ? "#6fb7ff" : `hsl(${32 + 118 * share} 85% 55%)`, kind === ADDED ? [7, 3] : []);
    }
    context.lineWidth = 3 * dots;
    for (let i = 0; i < marked.length; i += 2) circle(marked[i], marked[i + 1], "#ff5ad1", []);
    context.lineWidth = 1.5 * dots;
    if (waiting) circle(waiting[0], waiting[1], "#fff", [3, 3]);
    context.setLineDash([]);
    shown.textContent = `${count.toLocaleString("en")} particle${count === 1 ? "" : "s"}`;
    byHand.textContent = [added && `${added} added`, removed && `${removed} removed`].filter(Boolean).join(", ") + (added || removed ? " by hand" : "");
    least.textContent = limit() === null ? "–" : `${limit().toFixed(2)} σ`;
  }

  function drawScale(context, width) {
    const pixel = model.get("pixel_size");
    if (!pixel) return;
    const dots = window.devicePixelRatio || 1;
    const bar = scaleBar(Math.min(width, canvas.width / view.scale) * pixel);
    const long = bar / pixel * view.scale;
    label(context, `${bar.toLocaleString("en")} Å`, canvas.width - long / 2 - 20 * dots, canvas.height - 31 * dots, long);
    context.fillRect(canvas.width - long - 20 * dots, canvas.height - 24 * dots, long, 4 * dots);
  }

  // White words on a dark ground, with room for a bar of ``wide`` below them.
  function label(context, words, x, y, wide = 0) {
    const dots = window.devicePixelRatio || 1;
    context.font = `${13 * dots}px system-ui, sans-serif`;
    context.textAlign = "center";
    const room = Math.max(wide, context.measureText(words).width) + 20 * dots;
    context.fillStyle = "rgb(0 0 0 / 45%)";
    context.fillRect(x - room / 2, y - 17 * dots, room, (wide ? 38 : 24) * dots);
    context.fillStyle = "#fff";
    context.fillText(words, x, y);
  }

  function drawRuler(context) {
    const dots = window.devicePixelRatio || 1, [from, to] = view.ruler;
    const [a, b] = [onCanvas(...from), onCanvas(...to)];
    for (const [colour, width] of [["rgb(0 0 0 / 60%)", 4], ["#ffd54a", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * dots;
      context.beginPath();
      context.moveTo(...a);
      context.lineTo(...b);
      context.stroke();
    }
    const long = Math.hypot(to[0] - from[0], to[1] - from[1]) * model.get("pixel_size");
    canvas.dataset.ruler = long.toFixed(1);
    const inside = (v, most) => Math.min(most - 80 * dots, Math.max(80 * dots, v));
    label(context, length(long), inside((a[0] + b[0]) / 2, canvas.width), Math.max(24 * dots, (a[1] + b[1]) / 2 - 12 * dots));
  }

  function zoom(factor, x, y) {
    const scale = Math.min(40, Math.max(0.02, view.scale * factor));
    view.x += x / view.scale - x / scale;
    view.y += y / view.scale - y / scale;
    view.scale = scale;
    draw();
  }

  // The pointer's place on the micrograph, px.
  const place = (event) => [view.x + event.offsetX * ratio() / view.scale, view.y + event.offsetY * ratio() / view.scale];

  function nearest([x, y], wanted) {
    let best = null, least = 0.5 * model.get("radius_px");
    for (let i = 0; i < picks.length; i += ROW) {
      const away = Math.hypot(picks[i] - x, picks[i + 1] - y);
      if (wanted(i) && away <= least) [best, least] = [i, away];
    }
    return best === null ? null : [picks[best], picks[best + 1]];
  }

  function click(event) {
    const here = place(event), [width, height] = sides();
    if (here[0] < 0 || here[1] < 0 || here[0] > width || here[1] > height) return;
    const add = view.mode === "add";
    const taken = nearest(here, (i) => picks[i + 3] === ADDED || (picks[i + 3] !== REMOVED && picks[i + 2] > model.get("threshold")));
    if (add === Boolean(taken)) return;
    // A pick that was taken away comes back where it was.
    const at = add ? nearest(here, (i) => picks[i + 3] === REMOVED) ?? here : taken;
    waiting = at;
    draw();
    model.send({ [view.mode]: at, name: model.get("name") });
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), event.offsetX * ratio(), event.offsetY * ratio());
  }, { passive: false });
  let pressed = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pressed = [event.offsetX, event.offsetY];
    if (view.mode === "ruler") view.ruler = [place(event), place(event)];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons || !pressed) return;
    if (view.mode === "ruler") {
      view.ruler[1] = place(event);
    } else {
      view.x -= event.movementX * ratio() / view.scale;
      view.y -= event.movementY * ratio() / view.scale;
    }
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    const still = pressed && Math.hypot(event.offsetX - pressed[0], event.offsetY - pressed[1]) < 4;
    pressed = null;
    if (still && (view.mode === "add" || view.mode === "remove") && bitmap) click(event);
  });
  canvas.addEventListener("keydown", (event) => event.key === "Escape" && choose(""));
  canvas.addEventListener("dblclick", () => { if (!view.mode) { fit(); draw(); } });

  const bytes = (name) => { const v = model.get(name); return v && v.byteLength ? v : null; };
  async function load() {
    const jpeg = bytes("picture");
    if (jpeg !== picture) {
      picture = jpeg;
      const next = jpeg ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })) : null;
      if (jpeg !== picture) return;
      bitmap?.close();
      bitmap = next;
      view.ruler = null;
    }
    waiting = null;
    readPicks();
    resize();
    if (sides().join() !== view.sides) fit();
    draw();
  }
  function floats(name) {
    const raw = bytes(name);
    return raw ? new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength)) : new Float32Array();
  }
  function readPicks() {
    picks = floats("picks");
    const all = Array.from(picks).filter((_, i) => i % ROW === 2 && picks[i + 1] !== ADDED).sort((a, b) => a - b);
    const taken = all.filter((score) => score > (model.get("threshold") ?? -Infinity));
    const colours = taken.length ? taken : all;
    low = colours.length ? colours[Math.floor(0.02 * colours.length)] : 0;
    high = colours.length ? colours[Math.min(colours.length - 1, Math.floor(0.95 * colours.length))] : 1;
    const [first, last] = all.length ? [all[0], all[all.length - 1]] : [0, 1];
    Object.assign(threshold, { min: (first - 0.01).toFixed(2), max: (last + 0.01).toFixed(2), step: 0.01 });
    threshold.disabled = !all.length;
    threshold.value = limit() ?? first;
  }

  const watcher = new ResizeObserver(resize);
  watcher.observe(el);
  const redraw = () => load();
  const remark = () => { marked = floats("marked"); draw(); };
  const refused = (content) => { if (content.refused) { waiting = null; draw(); } };
  model.on("change:serial", redraw);
  model.on("change:marked", remark);
  model.on("change:editable", draw);
  model.on("msg:custom", refused);
  remark();
  load();
  return () => {
    watcher.disconnect();
    bitmap?.close();
    model.off("change:serial", redraw);
    model.off("change:marked", remark);
    model.off("change:editable", draw);
    model.off("msg:custom", refused);
  };
}
export default { render };
