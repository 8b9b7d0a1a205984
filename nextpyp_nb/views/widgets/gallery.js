// Thumbnails of thousands of micrographs: only tiles in sight exist, and only their pictures are fetched.
const GAP = 8, LINE = 20, KEPT = 2400, MOST = 600;
// Rows of tiles beyond what is in sight: a picture takes some frames from its bytes to the screen.
const BEYOND = 2;
// Screens fetched ahead the way one scrolls, and to either side where one stays.
const AHEAD = 3, AROUND = 1;
const MARKS = { failed: "!", excluded: "×", alarm: "▲" };

function render({ model, el }) {
  const frame = document.createElement("div"), sheet = document.createElement("div");
  frame.className = "nb-gallery-frame";
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", "micrographs");
  sheet.className = "nb-gallery-sheet";
  frame.append(sheet);
  el.append(frame);
  const items = new Map(), tiles = new Map(), pictures = new Map();
  let pending = [], serial = -1, queued = 0, at = 0, way = 0, moved = -1e9;

  function measure() {
    const size = model.get("size"), wide = frame.clientWidth - 2;
    const across = Math.max(1, Math.floor((wide + GAP) / (size + GAP)));
    const tile = (wide - GAP * (across - 1)) / across;
    return { across, tile, step: { x: tile + GAP, y: tile * 0.75 + LINE + GAP } };
  }

  // The numbers of the tiles in sight, and of so many screens and rows above and below: [first, end].
  function sight(above = 0, below = above, beyond = 0) {
    const { across, step } = measure(), rows = Math.ceil(frame.clientHeight / step.y) + 1;
    const top = Math.floor(frame.scrollTop / step.y), count = model.get("count");
    const first = Math.max(0, (top - above * rows - beyond) * across);
    return [first, Math.min(count, (top + rows + below * rows + beyond) * across)];
  }

  function make() {
    const tile = document.createElement("button");
    tile.className = "nb-gallery-tile";
    tile.append(Object.assign(document.createElement("img"), { alt: "" }), document.createElement("span"), document.createElement("mark"));
    tile.addEventListener("click", () => tile.nbName && model.send({ open: tile.nbName }));
    sheet.append(tile);
    return tile;
  }

  function fill(tile, item) {
    const [image, words, mark] = tile.children;
    tile.nbName = item?.name;
    tile.className = `nb-gallery-tile ${item?.mark ? "nb-is-" + item.mark : ""}`;
    words.textContent = item?.words ?? "";
    tile.title = item ? [item.name, ...item.lines].join("\n") : "";
    tile.setAttribute("aria-label", item ? `${item.name}, ${item.lines.join(", ")}` : "");
    mark.textContent = MARKS[item?.mark] ?? "";
    const url = item && pictures.get(item.key);
    // What is looked at is dropped last.
    if (url) { pictures.delete(item.key); pictures.set(item.key, url); }
    tile.classList.toggle("nb-blank", !url && !(item && !item.key));
    if (url && image.src !== url) image.src = url;
    if (!url) image.removeAttribute("src");
    image.hidden = !url;
  }

  // The numbers of visible tiles, each in its place; tiles out of sight are used again.
  function draw() {
    queued = 0;
    const { across, tile, step } = measure(), count = model.get("count");
    if (!frame.clientWidth) return;
    sheet.style.height = `${Math.ceil(count / across) * step.y}px`;
    const [first, last] = sight(0, 0, BEYOND);
    const free = [];
    for (const [i, made] of tiles) if (i < first || i >= last) { free.push(made); tiles.delete(i); }
    for (let i = first; i < last; i++) {
      let made = tiles.get(i);
      if (!made) tiles.set(i, (made = free.pop() ?? make()));
      Object.assign(made.style, {
        width: `${tile}px`, height: `${step.y - GAP}px`,
        transform: `translate(${(i % across) * step.x}px, ${Math.floor(i / across) * step.y}px)`,
      });
      fill(made, items.get(i));
    }
    free.forEach((made) => made.remove());
    ask();
  }
  const redraw = () => { if (!queued) queued = requestAnimationFrame(draw); };

  // First what is in sight; then ahead, when half of that is used up, a screen at a time: who jumps waits for two.
  function ask() {
    const now = performance.now();
    pending = pending.filter((one) => now - one.asked < 4000);
    const seen = sight();
    if (pending.length < 3 && request(lacking(...seen))) return;
    const [above, below] = now - moved > 400 ? [AROUND, AROUND] : way < 0 ? [AHEAD, 0] : [0, AHEAD];
    while (pending.length < 2 && lacking(...sight(above / 2, below / 2))) {
      const [first, last] = lacking(...sight(above, below)), screen = seen[1] - seen[0];
      request(way < 0 ? [Math.max(first, last - screen), last] : [first, Math.min(last, first + screen)]);
    }
  }
  function request(range) {
    if (!range) return false;
    const [first, last] = range, now = model.get("serial");
    pending.push({ first, last, serial: now, asked: performance.now() });
    // What was looked at last is most likely what is there still under other numbers.
    model.send({ first, last, serial: now, have: [...pictures.keys()].slice(-MOST).join(" ") });
    return true;
  }
  // From the first to the last tile there that is not known or has no picture, and is not on its way; or null.
  function lacking(from, to) {
    const now = model.get("serial"), coming = pending.filter((one) => one.serial === now);
    const lacks = (i) => {
      const item = serial === now && items.get(i);
      return !(item && (!item.key || pictures.has(item.key))) && !coming.some((one) => i >= one.first && i < one.last);
    };
    let first = from, last = to;
    while (first < last && !lacks(first)) first++;
    last = Math.min(last, first + MOST);
    while (last > first && !lacks(last - 1)) last--;
    return first < last ? [first, last] : null;
  }

  function told(content, buffers) {
    if (content.top) { frame.scrollTop = 0; return redraw(); }
    pending = pending.filter((one) => one.first !== content.first);
    if (content.serial > serial) { items.clear(); serial = content.serial; }
    if (content.serial === serial) content.rows.forEach((item, i) => items.set(content.first + i, item));
    content.pictures.forEach((key, i) => {
      if (!pictures.has(key)) pictures.set(key, URL.createObjectURL(new Blob([buffers[i]], { type: "image/jpeg" })));
    });
    while (pictures.size > KEPT) {
      const [key, url] = pictures.entries().next().value;
      URL.revokeObjectURL(url);
      pictures.delete(key);
    }
    redraw();
  }

  const resized = new ResizeObserver(redraw);
  resized.observe(frame);
  frame.addEventListener("scroll", () => {
    const by = frame.scrollTop - at;
    way = Math.sign(by);
    at = frame.scrollTop;
    moved = Math.abs(by) < frame.clientHeight ? performance.now() : -1e9;
    redraw();
  }, { passive: true });
  const changes = ["change:count", "change:serial", "change:size"];
  changes.forEach((name) => model.on(name, redraw));
  model.on("msg:custom", told);
  redraw();
  return () => {
    resized.disconnect();
    changes.forEach((name) => model.off(name, redraw));
    model.off("msg:custom", told);
    for (const url of pictures.values()) URL.revokeObjectURL(url);
  };
}
export default { render };
