// An image with a crosshair on one of its pixels, which a click or the arrow keys move.
function render({ model, el }) {
  const [width, height] = model.get("size");
  const box = document.createElement("div");
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("data-lm-suppress-shortcuts", "true");
  box.style.cssText = `position:relative;width:${width * model.get("scale")}px;max-width:100%;cursor:crosshair`;
  const image = document.createElement("img");
  image.src = model.get("source");
  image.alt = "The image in which a pixel is chosen";
  image.draggable = false;
  image.style.cssText = "width:100%;display:block;image-rendering:pixelated";
  const line = (style) => {
    const made = document.createElement("div");
    made.style.cssText = `position:absolute;pointer-events:none;background:#F0E442;mix-blend-mode:difference;${style}`;
    return made;
  };
  const column = line("top:0;bottom:0;width:2px"), row = line("left:0;right:0;height:2px");
  const mark = () => {
    const [x, y] = model.get("pixel");
    column.style.left = `calc(${(100 * (x + 0.5)) / width}% - 1px)`;
    row.style.top = `calc(${(100 * (y + 0.5)) / height}% - 1px)`;
    box.setAttribute("aria-label", `Pixel ${x}, ${y} of the image. Click another, or use the arrow keys.`);
  };
  const choose = (x, y) => {
    const inside = (value, end) => Math.min(end - 1, Math.max(0, Math.floor(value)));
    model.set("pixel", [inside(x, width), inside(y, height)]);
    model.save_changes();
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  box.onclick = (event) => {
    const frame = image.getBoundingClientRect();
    choose(((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height);
  };
  box.onkeydown = (event) => {
    if (!arrows[event.key]) return;
    event.preventDefault();
    const [x, y] = model.get("pixel"), [right, down] = arrows[event.key];
    choose(x + right, y + down);
  };
  model.on("change:pixel", mark);
  mark();
  box.append(image, column, row);
  el.append(box);
}
export default { render };
