// One layer over all plots of a page: a card under the pointer, a box or lasso by dragging, a click opens.
// The kernel knows the data; here are only fractions of a plot's area, y up.
const NEAR = 4;

function render({ model, el }) {
  el.style.display = "none";
  let drag = null, asked = 0, waiting = null, picture = null;
  const card = document.createElement("div");
  card.className = "nb-hover";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  card.append(document.createElement("img"), document.createElement("div"));
  const root = () => el.closest(".nb-plots");
  const keyOf = (plot) => /nb-plot-([\w-]+)/.exec(plot.className)[1];
  const plotOf = (key) => root()?.querySelector(`.nb-plot-${CSS.escape(key)}`);
  const areaOf = (plot) => plot.querySelector(".plotarea_background")?.getBoundingClientRect();

  function under(event) {
    const plot = event.target.closest?.(".nb-plot");
    if (!plot || !root()?.contains(plot)) return null;
    const area = areaOf(plot), x = event.clientX, y = event.clientY;
    if (!area || !area.width || x < area.left || x > area.right || y < area.top || y > area.bottom) return null;
    return { plot, key: keyOf(plot), area };
  }
  const clamp = (v) => Math.min(1, Math.max(0, v));
  const fraction = (area, event) => [
    clamp((event.clientX - area.left) / area.width), clamp((area.bottom - event.clientY) / area.height),
  ];

  // A drawing over the plot's area, in its fractions.
  function ink(plot) {
    let svg = plot.querySelector(":scope > svg.nb-ink");
    if (!svg) {
      svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.classList.add("nb-ink");
      svg.setAttribute("viewBox", "0 0 1 1");
      svg.setAttribute("preserveAspectRatio", "none");
      svg.append(document.createElementNS(svg.namespaceURI, "polygon"));
      plot.append(svg);
    }
    const area = areaOf(plot), frame = plot.getBoundingClientRect();
    if (area) Object.assign(svg.style, {
      left: `${area.left - frame.left - plot.clientLeft}px`, top: `${area.top - frame.top - plot.clientTop}px`,
      width: `${area.width}px`, height: `${area.height}px`,
    });
    return svg.firstChild;
  }
  const outline = (plot, corners) => ink(plot).setAttribute("points", corners.map(([x, y]) => `${x},${1 - y}`).join(" "));
  const corners = ([x0, x1, y0, y1]) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
  function drawBoxes() {
    const boxes = model.get("boxes");
    root()?.querySelectorAll(".nb-plot").forEach((plot) => {
      const box = boxes[keyOf(plot)];
      if (box || plot.querySelector(":scope > svg.nb-ink")) outline(plot, box ? corners(box) : []);
    });
  }

  function hide() {
    card.hidden = true;
    waiting = null;
    asked += 1;
  }
  function down(event) {
    const at = event.button === 0 && under(event);
    if (!at) return;
    event.preventDefault();
    drag = { ...at, start: event, path: [fraction(at.area, event)], lasso: model.get("lasso") };
    hide();
  }
  function move(event) {
    if (drag) {
      const here = fraction(drag.area, event), [x, y] = drag.path[0];
      if (drag.lasso) drag.path.push(here);
      else drag.box = [Math.min(x, here[0]), Math.max(x, here[0]), Math.min(y, here[1]), Math.max(y, here[1])];
      if (moved(event)) outline(drag.plot, drag.lasso ? drag.path : corners(drag.box));
      return;
    }
    const at = under(event);
    if (!at) return hide();
    const [x, y] = fraction(at.area, event), first = !waiting;
    waiting = { hover: at.key, x, y, width: at.area.width, height: at.area.height };
    if (first) setTimeout(ask, 40);
  }
  function ask() {
    if (waiting) model.send({ ...waiting, serial: ++asked });
    waiting = null;
  }
  const moved = (event) => Math.hypot(event.clientX - drag.start.clientX, event.clientY - drag.start.clientY) > NEAR;
  function up(event) {
    if (!drag) return;
    const done = drag, far = moved(event);
    drag = null;
    if (far && done.lasso) model.send({ lasso: done.key, path: done.path });
    else if (far) model.send({ box: done.key, span: done.box });
    else {
      const [x, y] = done.path[0];
      model.send({ click: done.key, x, y, width: done.area.width, height: done.area.height });
    }
    drawBoxes();
  }
  function key(event) {
    if (event.key === "Escape" && drag) { drag = null; drawBoxes(); }
  }

  function told(content, buffers) {
    if (content.serial !== asked) return;
    const plot = plotOf(content.plot), area = plot && areaOf(plot);
    if (!area || !content.lines) { card.hidden = true; return; }
    const [image, lines] = card.children, frame = plot.getBoundingClientRect();
    if (picture) URL.revokeObjectURL(picture);
    picture = buffers.length ? URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" })) : null;
    image.hidden = !picture;
    if (picture) image.src = picture; else image.removeAttribute("src");
    lines.replaceChildren(...content.lines.map((text) => Object.assign(document.createElement("div"), { textContent: text })));
    if (card.parentNode !== plot) plot.append(card);
    const right = area.left + content.x * area.width > window.innerWidth / 2;
    card.style.left = `${area.left - frame.left + content.x * area.width + (right ? -262 : 12)}px`;
    const down = (1 - content.y) * area.height, low = area.top + down > window.innerHeight * 0.55;
    card.style.top = low ? "auto" : `${area.top - frame.top + down + 12}px`;
    card.style.bottom = low ? `${frame.bottom - area.top - down + 12}px` : "auto";
    card.hidden = false;
  }

  const listeners = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, keydown: key };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener);
  const redraw = () => requestAnimationFrame(() => { drawBoxes(); tellAspect(); });
  // Plots come and change their size after us.
  function tellAspect() {
    const plot = root()?.querySelector(".nb-round"), area = plot && areaOf(plot);
    if (!area?.height || Math.abs(area.width / area.height - model.get("aspect")) < 0.05) return;
    model.set("aspect", area.width / area.height);
    model.save_changes();
  }
  const resized = new ResizeObserver(() => setTimeout(redraw, 200));
  resized.observe(document.documentElement);
  const soon = [300, 1000, 3000].map((ms) => setTimeout(redraw, ms));
  model.on("change:boxes", drawBoxes);
  model.on("msg:custom", told);
  redraw();
  return () => {
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener);
    resized.disconnect();
    soon.forEach(clearTimeout);
    model.off("change:boxes", drawBoxes);
    model.off("msg:custom", told);
    if (picture) URL.revokeObjectURL(picture);
  };
}
export default { render };
