// Thumbnails of thousands of micrographs: only tiles in sight exist, and only their pictures are fetched.
const GAP = 8, LINE = 20, KEPT = 2400, AHEAD = 1, MOST = 600;
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
  let asked = null, serial = -1, queued = 0;

  function measure() {
    const size = model.get("size"), wide = frame.clientWidth - 2;
    const across = Math.max(1, Math.floor((wide + GAP) / (size + GAP)));
    const tile = (wide - GAP * (across - 1)) / across;
    return { across, tile, step: { x: tile + GAP, y: tile * 0.75 + LINE + GAP } };
  }

  function sight(ahead) {
    const { across, step } = measure(), rows = Math.ceil(frame.clientHeight / step.y) + 1;
    const top = Math.floor(frame.scrollTop / step.y), count = model.get("count");
    const first = Math.max(0, (top - ahead * rows) * across);
    return [first, Math.min(count, (top + rows + ahead * rows) * across)];
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
    const [first, last] = sight(0);
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

  // One request at a time: first what is in sight, then a screen to either side.
  function ask() {
    if (asked && performance.now() - asked < 4000) return;
    const range = [sight(0), sight(AHEAD)].map(([first, last]) => [lacking(first, last), last]).find(([first]) => first >= 0);
    if (!range) return;
    asked = performance.now();
    const last = Math.min(range[1], range[0] + MOST);
    model.send({ first: range[0], last, serial: model.get("serial"), have: [...pictures.keys()].join(" ") });
  }
  // The first tile from there on that is not known, or has no picture yet; -1 when none.
  function lacking(first, last) {
    if (serial !== model.get("serial")) return last > first ? first : -1;
    for (let i = first; i < last; i++) {
      const item = items.get(i);
      if (!item || (item.key && !pictures.has(item.key))) return i;
    }
    return -1;
  }

  function told(content, buffers) {
    if (content.top) { frame.scrollTop = 0; return redraw(); }
    asked = null;
    if (content.serial !== serial) { items.clear(); serial = content.serial; }
    content.rows.forEach((item, i) => items.set(content.first + i, item));
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
  frame.addEventListener("scroll", redraw, { passive: true });
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
