// A micrograph with its picks: pan by dragging, zoom by the wheel, contrast and threshold without the kernel.
const STYLE = `
.nb-micrograph { position: relative; }
.nb-micrograph canvas { width: 100%; display: block; border-radius: 4px; cursor: grab; touch-action: none; background: #808080; }
.nb-micrograph canvas:active { cursor: grabbing; }
.nb-micrograph .nb-none { position: absolute; inset: 40% 0 auto; text-align: center; color: #fff; }
.nb-image-tools { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; padding-top: 10px; color: var(--nb-muted); font-size: 12px; }
.nb-image-tools b { color: var(--nb-text); font-weight: 600; }
.nb-image-tools label { display: flex; gap: 8px; align-items: center; }
.nb-image-tools input[type=range] { width: 84px; accent-color: var(--nb-accent); }
.nb-image-tools output { min-width: 30px; }
.nb-scores { display: inline-block; width: 54px; height: 8px; border-radius: 4px; background: linear-gradient(90deg, hsl(32 90% 58%), hsl(60 85% 55%), hsl(150 80% 50%)); }
`;

const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
};

function toolButton(text, title, action) {
  return element("button", { className: "nb-button jupyter-button", textContent: text, title, onclick: action });
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

function render({ model, el }) {
  const canvas = element("canvas", { className: "nb-micrograph-canvas" });
  const none = element("div", { className: "nb-none" });
  const shown = element("b", { className: "nb-pick-count" });
  const least = element("output");
  const view = { scale: 1, x: 0, y: 0, contrast: 1, threshold: -Infinity, circles: true };
  let bitmap = null, picks = new Float32Array(), low = 0, high = 1;

  const threshold = slider("threshold", 0, 1, 0.01, 0, (share) => {
    view.threshold = share === 0 ? -Infinity : low + share * (high - low);
    draw();
  });
  const circles = element("input", { type: "checkbox", checked: true });
  circles.addEventListener("change", () => { view.circles = circles.checked; draw(); });
  const tools = element("div", { className: "nb-image-tools" },
    element("span", { className: "nb-group" },
      toolButton("fit", "Whole micrograph", () => { fit(); draw(); }),
      toolButton("1:1", "One pixel of the picture on one of the screen", () => { zoom(1 / (perPixel() * view.scale), canvas.width / 2, canvas.height / 2); })),
    element("label", {}, "contrast", slider("contrast", 0.3, 3, 0.05, 1, (value) => { view.contrast = value; draw(); })),
    element("label", {}, "picks", circles),
    element("label", {}, "≥", threshold, least),
    shown,
    element("span", { title: "Colour of a circle: its score" }, "score ", element("i", { className: "nb-scores" })));
  el.append(element("style", { textContent: STYLE }), element("div", { className: "nb-micrograph" }, canvas, none), tools);

  const sides = () => [model.get("width") || 1, model.get("height") || 1];
  const perPixel = () => (bitmap ? sides()[0] / bitmap.width : 1);

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
    const ratio = window.devicePixelRatio || 1;
    const tall = Math.min(room * height / width, Math.max(360, window.innerHeight - 250));
    const [w, h] = [Math.round(room * ratio), Math.round(tall * ratio)];
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
    if (!bitmap) { shown.textContent = ""; return; }
    context.imageSmoothingEnabled = view.scale * perPixel() < 3;
    context.filter = view.contrast === 1 ? "none" : `contrast(${view.contrast})`;
    context.drawImage(bitmap, -view.x * view.scale, -view.y * view.scale, width * view.scale, height * view.scale);
    context.filter = "none";
    drawPicks(context);
    drawScale(context, width);
  }

  function drawPicks(context) {
    const radius = model.get("radius_px") * view.scale;
    let count = 0;
    context.lineWidth = 1.5 * (window.devicePixelRatio || 1);
    for (let i = 0; i < picks.length; i += 3) {
      if (picks[i + 2] < view.threshold) continue;
      count += 1;
      if (!view.circles) continue;
      const share = high > low ? Math.min(1, Math.max(0, (picks[i + 2] - low) / (high - low))) : 1;
      context.strokeStyle = `hsl(${32 + 118 * share} 85% 55%)`;
      context.beginPath();
      context.arc((picks[i] - view.x) * view.scale, (picks[i + 1] - view.y) * view.scale, radius, 0, 2 * Math.PI);
      context.stroke();
    }
    const all = picks.length / 3;
    shown.textContent = count === all ? `${count} particles` : `${count} of ${all} particles`;
    least.textContent = view.threshold === -Infinity ? "all" : view.threshold.toFixed(1);
  }

  function drawScale(context, width) {
    const pixel = model.get("pixel_size");
    if (!pixel) return;
    const ratio = window.devicePixelRatio || 1;
    const length = scaleBar(Math.min(width, canvas.width / view.scale) * pixel);
    const long = length / pixel * view.scale;
    const [x, y] = [canvas.width - long - 20 * ratio, canvas.height - 24 * ratio];
    context.fillStyle = "rgb(0 0 0 / 45%)";
    context.fillRect(x - 10 * ratio, y - 24 * ratio, long + 20 * ratio, 38 * ratio);
    context.fillStyle = "#fff";
    context.fillRect(x, y, long, 4 * ratio);
    context.font = `${13 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.fillText(`${length.toLocaleString("en")} Å`, x + long / 2, y - 7 * ratio);
  }

  function zoom(factor, x, y) {
    const scale = Math.min(40, Math.max(0.02, view.scale * factor));
    view.x += x / view.scale - x / scale;
    view.y += y / view.scale - y / scale;
    view.scale = scale;
    draw();
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const ratio = canvas.width / canvas.clientWidth;
    zoom(Math.exp(-event.deltaY / 400), event.offsetX * ratio, event.offsetY * ratio);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    const ratio = canvas.width / canvas.clientWidth;
    view.x -= event.movementX * ratio / view.scale;
    view.y -= event.movementY * ratio / view.scale;
    draw();
  });
  canvas.addEventListener("dblclick", () => { fit(); draw(); });

  const bytes = (name) => { const v = model.get(name); return v && v.byteLength ? v : null; };
  async function load() {
    const jpeg = bytes("picture");
    const next = jpeg ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })) : null;
    bitmap = next;
    readPicks();
    resize();
    if (sides().join() !== view.sides) fit();
    draw();
  }
  function readPicks() {
    const raw = bytes("picks");
    picks = raw ? new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength)) : new Float32Array();
    const scores = Array.from(picks).filter((_, i) => i % 3 === 2).sort((a, b) => a - b);
    low = scores.length ? scores[Math.floor(0.02 * scores.length)] : 0;
    high = scores.length ? scores[Math.min(scores.length - 1, Math.floor(0.95 * scores.length))] : 1;
    view.threshold = Number(threshold.value) === 0 ? -Infinity : low + Number(threshold.value) * (high - low);
  }

  const watcher = new ResizeObserver(resize);
  watcher.observe(el);
  const redraw = () => load();
  model.on("change:serial", redraw);
  load();
  return () => { watcher.disconnect(); model.off("change:serial", redraw); };
}
export default { render };
