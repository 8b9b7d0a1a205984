// Class averages cut from one sheet, ten a row; what each holds stands under it.
const STYLE = `
.nb-tiles { display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: 10px; }
.nb-tile { border: 2px solid transparent; border-radius: 5px; padding: 2px; position: relative; font-size: 11px; cursor: pointer; }
.nb-tile canvas { width: 100%; aspect-ratio: 1; display: block; border-radius: 2px; background: #000; }
.nb-tile div { display: flex; justify-content: space-between; gap: 4px; color: var(--nb-muted); padding-top: 2px; white-space: nowrap; overflow: hidden; }
.nb-tile b { color: var(--nb-text); font-weight: 600; }
.nb-tile mark { position: absolute; top: 4px; right: 6px; background: none; color: #fff; text-shadow: 0 0 3px #000; font-size: 13px; }
.nb-tile.nb-accepted { border-color: var(--nb-done); }
.nb-tile.nb-rejected { border-color: color-mix(in srgb, var(--nb-failed) 50%, transparent); }
.nb-tile.nb-rejected canvas, .nb-tile.nb-rejected div { opacity: 0.45; }
`;

function render({ model, el }) {
  const style = document.createElement("style");
  style.textContent = STYLE;
  const grid = document.createElement("div");
  grid.className = "nb-tiles";
  el.append(style, grid);
  let sheet = null;

  function tile() {
    const made = document.createElement("div");
    made.append(document.createElement("canvas"), document.createElement("mark"), document.createElement("div"));
    for (let i = 0; i < 3; i++) made.lastChild.append(document.createElement(i ? "span" : "b"));
    made.addEventListener("click", () => model.send({ clicked: Number(made.dataset.number) }));
    grid.append(made);
    return made;
  }

  // Black pixels between two tiles of the sheet.
  function between(columns, side, count) {
    const rows = Math.ceil(count / columns);
    if (columns > 1) return (sheet.width - columns * side) / (columns - 1);
    return rows > 1 ? (sheet.height - rows * side) / (rows - 1) : 0;
  }

  function draw() {
    const classes = model.get("classes"), side = model.get("tile"), columns = model.get("columns");
    while (grid.children.length > classes.length) grid.lastChild.remove();
    classes.forEach((average, place) => {
      const made = grid.children[place] || tile();
      const [canvas, mark, line] = made.children;
      made.className = `nb-tile ${average.mark ? "nb-" + average.mark : ""}`;
      made.dataset.number = average.number;
      made.title = average.title;
      mark.textContent = { accepted: "✓", rejected: "×" }[average.mark] || "";
      [average.count, average.share, average.resolution].forEach((text, i) => { line.children[i].textContent = text; });
      canvas.width = canvas.height = side;
      if (sheet) {
        const at = average.index, step = side + between(columns, side, classes.length);
        canvas.getContext("2d").drawImage(sheet, (at % columns) * step, Math.floor(at / columns) * step, side, side, 0, 0, side, side);
      }
    });
  }

  async function load() {
    const png = model.get("sheet");
    sheet = png && png.byteLength ? await createImageBitmap(new Blob([png], { type: "image/png" })) : null;
    draw();
  }
  model.on("change:sheet", load);
  model.on("change:classes", draw);
  load();
  return () => { model.off("change:sheet", load); model.off("change:classes", draw); };
}
export default { render };
