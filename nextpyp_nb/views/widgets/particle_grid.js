// Images of single particles side by side; a click asks for the micrograph.
const STYLE = `
.nb-particles { display: grid; grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)); gap: 4px; }
.nb-particles button { padding: 0; border: none; background: none; cursor: pointer; border-radius: 3px; line-height: 0; }
.nb-particles canvas { width: 100%; border-radius: 3px; }
.nb-particles button:focus-visible { outline: 2px solid var(--nb-accent); }
`;
function render({ model, el }) {
  const style = document.createElement("style"), grid = document.createElement("div");
  style.textContent = STYLE;
  grid.className = "nb-particles";
  el.append(style, grid);
  function draw() {
    const side = model.get("side"), grey = model.get("pixels"), names = model.get("names");
    grid.replaceChildren(...names.map((name, i) => {
      const made = document.createElement("button"), canvas = document.createElement("canvas");
      made.title = name;
      made.setAttribute("aria-label", `particle of ${name}`);
      canvas.width = canvas.height = side;
      const image = new ImageData(side, side);
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++) {
          // Row 0 of an array lies at the bottom.
          const value = grey.getUint8((i * side + side - 1 - y) * side + x), at = 4 * (y * side + x);
          image.data[at] = image.data[at + 1] = image.data[at + 2] = value;
          image.data[at + 3] = 255;
        }
      }
      canvas.getContext("2d").putImageData(image, 0, 0);
      made.append(canvas);
      made.addEventListener("click", () => model.send({ open: name }));
      return made;
    }));
  }
  model.on("change:serial", draw);
  draw();
  return () => model.off("change:serial", draw);
}
export default { render };
