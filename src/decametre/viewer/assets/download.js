// Download of the visible map as PNG, with a caption.

/** Save what the map shows. */
export function downloadView(scene, caption, name) {
  scene.map.once("rendercomplete", () => {
    const picture = compose(scene, caption);
    picture.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${name}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  });
  scene.map.render();
}

/** The picture of the map: a canvas. */
export function compose(scene, caption) {
  const [width, height] = scene.map.getSize();
  const ratio = window.devicePixelRatio || 1;
  const strip = 30;
  const picture = document.createElement("canvas");
  picture.width = width * ratio;
  picture.height = (height + strip) * ratio;
  const context = picture.getContext("2d");
  context.fillStyle = "#0c1015";
  context.fillRect(0, 0, picture.width, picture.height);
  for (const canvas of scene.map.getViewport().querySelectorAll(".ol-layers canvas, canvas.ol-layer")) {
    if (!canvas.width) continue;
    const matrix = canvas.style.transform.match(/^matrix\(([^(]*)\)$/)?.[1].split(",").map(Number);
    const scale = canvas.style.width ? [parseFloat(canvas.style.width) / canvas.width, parseFloat(canvas.style.height) / canvas.height] : [1, 1];
    const [a, b, c, d, e, f] = matrix ?? [scale[0], 0, 0, scale[1], 0, 0];
    context.setTransform(a * ratio, b * ratio, c * ratio, d * ratio, e * ratio, f * ratio);
    context.globalAlpha = Number(canvas.parentNode.style.opacity || 1);
    context.drawImage(canvas, 0, 0);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.globalAlpha = 1;
  context.font = "13px system-ui, sans-serif";
  context.textBaseline = "middle";
  if (scene.hasBefore && scene.shownShare > 0 && scene.shownShare < 1) {
    context.fillStyle = "rgba(255,255,255,.9)";
    context.fillRect(width * scene.shownShare - 1, 0, 2, height);
  }
  context.fillStyle = "#aeb8c4";
  context.fillText(caption, 12, height + strip / 2 + 1, width - 24);
  return picture;
}
