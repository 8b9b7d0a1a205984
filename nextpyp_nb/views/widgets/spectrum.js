// A square of grey values with rings at round resolutions and at that of the fit; the pointer reads others.
const ROUND = [30, 20, 15, 10, 8, 6, 5, 4, 3.5, 3, 2.5, 2, 1.5];
const STYLE = `
.nb-spectrum-frame { position: relative; max-width: 260px; margin: auto; }
.nb-spectrum-canvas { width: 100%; aspect-ratio: 1; display: block; border-radius: 4px; cursor: crosshair; }
.nb-spectrum-read { position: absolute; left: 6px; bottom: 6px; padding: 0 6px; border-radius: 4px; background: rgb(0 0 0 / 55%); color: #fff; font-size: 11px; pointer-events: none; }
.nb-spectrum-read:empty { display: none; }
`;

function render({ model, el }) {
  const canvas = document.createElement("canvas"), read = document.createElement("div");
  const frame = document.createElement("div"), style = document.createElement("style");
  canvas.className = "nb-spectrum-canvas";
  canvas.setAttribute("aria-label", "power spectrum; fitted CTF in its left half");
  read.className = "nb-spectrum-read";
  frame.className = "nb-spectrum-frame";
  style.textContent = STYLE;
  frame.append(canvas, read);
  el.append(style, frame);

  function draw() {
    const n = model.get("side"), grey = model.get("pixels");
    frame.style.visibility = n ? "visible" : "hidden";
    if (!n) return;
    const picture = new OffscreenCanvas(n, n), image = new ImageData(n, n);
    for (let y = 0; y < n; y++) {
      for (let x = 0; x < n; x++) {
        // Row 0 of an array lies at the bottom.
        const value = grey.getUint8((n - 1 - y) * n + x), at = 4 * (y * n + x);
        image.data[at] = image.data[at + 1] = image.data[at + 2] = value;
        image.data[at + 3] = 255;
      }
    }
    picture.getContext("2d").putImageData(image, 0, 0);
    const side = (canvas.width = canvas.height = 520), context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0, side, side);
    rings(context, side);
  }

  function rings(context, side) {
    const nyquist = model.get("nyquist"), fit = model.get("resolution");
    if (!nyquist) return;
    const radius = (resolution) => nyquist / resolution * side / 2;
    function circle(resolution, colour, dashes, place) {
      const r = radius(resolution);
      context.strokeStyle = colour;
      context.setLineDash(dashes);
      context.beginPath();
      context.arc(side / 2, side / 2, r, 0, 2 * Math.PI);
      context.stroke();
      const at = [side / 2 + r * Math.cos(place), side / 2 - r * Math.sin(place) + 9];
      const words = `${resolution.toFixed(1).replace(".0", "")} Å`, wide = context.measureText(words).width;
      context.fillStyle = "rgb(0 0 0 / 65%)";
      context.fillRect(at[0] - wide / 2 - 6, at[1] - 24, wide + 12, 32);
      context.fillStyle = colour;
      context.fillText(words, ...at);
    }
    context.font = "600 27px system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 2.5;
    let last = 40;
    for (const resolution of ROUND) {
      const r = radius(resolution);
      if (r > 0.97 * side / 2 || r - last < 44 || (fit > 0 && Math.abs(r - radius(fit)) < 40)) continue;
      circle(resolution, "#ffd54a", [3, 9], 0.25 * Math.PI);
      last = r;
    }
    context.lineWidth = 4;
    if (fit > 0 && radius(fit) <= side / 2) circle(fit, "#ff8d7f", [8, 8], 0.75 * Math.PI);
  }

  canvas.addEventListener("pointermove", (event) => {
    const side = canvas.clientWidth, r = Math.hypot(event.offsetX - side / 2, event.offsetY - side / 2);
    const nyquist = model.get("nyquist");
    read.textContent = nyquist && r > 2 ? `${(nyquist * side / 2 / r).toFixed(r > side / 8 ? 2 : 1)} Å` : "";
  });
  canvas.addEventListener("pointerleave", () => { read.textContent = ""; });
  model.on("change:serial", draw);
  draw();
  return () => model.off("change:serial", draw);
}
export default { render };
