// Class averages cut from one sheet, ten a row; what each holds stands under it. Clicks select, here at once.
const STYLE = `
.nb-tiles { display: grid; grid-template-columns: repeat(10, minmax(0, 160px)); gap: 8px; padding: 3px; }
.nb-tile { border: 2px solid transparent; border-radius: 6px; padding: 2px; position: relative; font: inherit; font-size: 11px; cursor: pointer; background: none; color: inherit; text-align: left; min-width: 0; }
.nb-tile canvas { width: 100%; aspect-ratio: 1; display: block; border-radius: 3px; background: #000; }
.nb-tile div { display: flex; justify-content: space-between; gap: 4px; color: var(--nb-muted); padding-top: 2px; white-space: nowrap; overflow: hidden; }
.nb-tile b { color: var(--nb-text); font-weight: 600; }
.nb-tile mark { position: absolute; top: 5px; right: 6px; min-width: 16px; height: 16px; line-height: 16px; text-align: center; border-radius: 8px; background: none; color: #fff; text-shadow: 0 0 3px #000; font-size: 12px; }
.nb-tile.nb-by-hand mark { background: #2e8b57; text-shadow: none; }
.nb-tile.nb-by-hand.nb-rejected mark { background: #c0392b; }
.nb-tile.nb-accepted { border-color: var(--nb-done); }
.nb-tile.nb-rejected { border-color: color-mix(in srgb, var(--nb-failed) 50%, transparent); }
.nb-tile.nb-rejected canvas, .nb-tile.nb-rejected div { opacity: 0.45; }
.nb-tile[aria-pressed=true] { outline: 3px solid var(--nb-accent); outline-offset: 0; }
`;
const ROUND = [10, 20, 25, 50, 100, 200, 250, 500];

function render({ model, el }) {
  const style = document.createElement("style");
  style.textContent = STYLE;
  const grid = document.createElement("div");
  grid.className = "nb-tiles";
  el.append(style, grid);
  let sheet = null, last = null, selected = new Set(model.get("selected"));

  const order = () => model.get("classes").map((average) => average.identity);
  // A click selects one, with Ctrl one more or less, with Shift all from the last one.
  function click(event, identity) {
    const all = order(), now = new Set(selected);
    let next;
    if (event.shiftKey && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(identity)].sort((a, b) => a - b);
      next = all.slice(from, to + 1);
    } else if (event.ctrlKey || event.metaKey) {
      now.has(identity) ? now.delete(identity) : now.add(identity);
      next = [...now];
      last = identity;
    } else {
      next = now.size === 1 && now.has(identity) ? [] : [identity];
      last = identity;
    }
    // A message keeps its place among those of buttons and keys; a synced value may come after them.
    selected = new Set(next);
    model.send({ selected: next });
    draw();
  }

  function tile() {
    const made = document.createElement("button");
    made.append(document.createElement("canvas"), document.createElement("mark"), document.createElement("div"));
    for (let i = 0; i < 3; i++) made.lastChild.append(document.createElement(i ? "span" : "b"));
    made.addEventListener("click", (event) => click(event, Number(made.dataset.identity)));
    made.addEventListener("dblclick", () => model.send({ open: Number(made.dataset.identity) }));
    grid.append(made);
    return made;
  }

  // Black pixels between two tiles of the sheet.
  function between(columns, side, count) {
    const rows = Math.ceil(count / columns);
    if (columns > 1) return (sheet.width - columns * side) / (columns - 1);
    return rows > 1 ? (sheet.height - rows * side) / (rows - 1) : 0;
  }

  function scaleBar(context, side) {
    const pixel = model.get("pixel_size"), length = ROUND.findLast((l) => l <= 0.45 * side * pixel);
    if (!pixel || !length) return;
    const long = length / pixel;
    context.fillStyle = "#fff";
    context.shadowColor = "#000";
    context.shadowBlur = 2;
    context.font = `${side / 10}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.fillRect(side * 0.05, side * 0.93, long, side * 0.025);
    context.fillText(`${length} Å`, side * 0.05 + Math.max(long, side * 0.24) / 2, side * 0.9);
  }

  function paint(canvas, average, place, side, columns, count) {
    const drawn = [average.index, side, place === 0, sheet].join();
    if (canvas.nbDrawn === drawn && canvas.nbSheet === sheet) return;
    [canvas.nbDrawn, canvas.nbSheet] = [drawn, sheet];
    // Enlarged, so that the scale bar's words are sharp.
    const shown = Math.max(1, Math.round(240 / side)) * side;
    canvas.width = canvas.height = shown;
    if (!sheet) return;
    const at = average.index, step = side + between(columns, side, count), context = canvas.getContext("2d");
    context.drawImage(sheet, (at % columns) * step, Math.floor(at / columns) * step, side, side, 0, 0, shown, shown);
    if (place === 0) {
      context.scale(shown / side, shown / side);
      scaleBar(context, side);
    }
  }

  function draw() {
    const classes = model.get("classes"), side = model.get("tile"), columns = model.get("columns");
    while (grid.children.length > classes.length) grid.lastChild.remove();
    classes.forEach((average, place) => {
      const made = grid.children[place] || tile();
      const [canvas, mark, line] = made.children;
      made.className = ["nb-tile", average.mark && `nb-${average.mark}`, average.hand && "nb-by-hand"].filter(Boolean).join(" ");
      made.dataset.identity = average.identity;
      made.title = average.title;
      made.setAttribute("aria-label", average.title);
      made.setAttribute("aria-pressed", selected.has(average.identity));
      mark.textContent = { accepted: "✓", rejected: "×" }[average.mark] || "";
      [average.count, average.share, average.resolution].forEach((text, i) => { line.children[i].textContent = text; });
      paint(canvas, average, place, side, columns, model.get("count"));
    });
  }

  async function load() {
    const png = model.get("sheet");
    const next = png && png.byteLength ? await createImageBitmap(new Blob([png], { type: "image/png" })) : null;
    if (png !== model.get("sheet")) return;
    sheet?.close();
    sheet = next;
    draw();
  }
  const reselect = () => { selected = new Set(model.get("selected")); draw(); };
  model.on("change:sheet", load);
  model.on("change:selected", reselect);
  model.on("change:classes", draw);
  load();
  return () => {
    sheet?.close();
    model.off("change:sheet", load);
    model.off("change:selected", reselect);
    model.off("change:classes", draw);
  };
}
export default { render };
