// A square of grey values, with a circle at the resolution of the fit.
function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.className = "nb-spectrum-canvas";
  canvas.style.cssText = "width: 100%; max-width: 260px; aspect-ratio: 1; display: block; margin: auto; border-radius: 4px;";
  el.append(canvas);
  function draw() {
    const n = model.get("side"), grey = model.get("pixels");
    canvas.style.visibility = n ? "visible" : "hidden";
    if (!n) return;
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d");
    const image = context.createImageData(n, n);
    for (let y = 0; y < n; y++) {
      for (let x = 0; x < n; x++) {
        // Row 0 of an array lies at the bottom.
        const value = grey.getUint8((n - 1 - y) * n + x), at = 4 * (y * n + x);
        image.data[at] = image.data[at + 1] = image.data[at + 2] = value;
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    const ring = model.get("ring");
    if (ring > 0 && ring <= 1) {
      context.strokeStyle = "#ee6a5b";
      context.lineWidth = n / 260;
      context.setLineDash([n / 60, n / 60]);
      context.beginPath();
      context.arc(n / 2, n / 2, ring * n / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }
  model.on("change:serial", draw);
  draw();
  return () => model.off("change:serial", draw);
}
export default { render };
