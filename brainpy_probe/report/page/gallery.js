"use strict";
// Pictures with pan (drag, arrow keys) and zoom (wheel, + and -, 0 for the whole picture).
const PICTURES = JSON.parse(document.getElementById("data").textContent);
const view = document.getElementById("view");
const image = document.createElement("img");
view.append(image);
const at = { x: 0, y: 0, scale: 1 };

function draw() {
  image.style.transform = `translate(${at.x}px, ${at.y}px) scale(${at.scale})`;
}
function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const scale = Math.min(8, Math.max(0.01, at.scale * factor));
  at.x = x - ((x - at.x) * scale) / at.scale;
  at.y = y - ((y - at.y) * scale) / at.scale;
  at.scale = scale;
  draw();
}
function fit() {
  at.scale = Math.min(view.clientWidth / image.naturalWidth, view.clientHeight / image.naturalHeight, 1);
  at.x = (view.clientWidth - image.naturalWidth * at.scale) / 2;
  at.y = 0;
  draw();
}
// As high as the window, from the left: XLA's graphs are wide, and unreadable as a whole.
function begin() {
  at.scale = Math.min(1, Math.max(view.clientHeight / image.naturalHeight, 0.3));
  at.x = Math.max(0, (view.clientWidth - image.naturalWidth * at.scale) / 2);
  at.y = 0;
  draw();
}
async function show(number) {
  const { type, packed, name } = PICTURES[number];
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const blob = new Blob([await new Response(stream).arrayBuffer()], { type });
  // A picture in an img element runs nothing and loads nothing.
  image.src = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
  });
  image.alt = name;
  await image.decode();
  begin();
  document.querySelectorAll("#list button").forEach((button, n) => button.setAttribute("aria-current", n === number));
}
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
}, { passive: false });
view.addEventListener("pointermove", (event) => {
  if (event.buttons & 1) { at.x += event.movementX; at.y += event.movementY; draw(); }
});
image.draggable = false;
view.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  if (event.key === "+") zoom(1.3);
  else if (event.key === "-") zoom(1 / 1.3);
  else if (event.key === "0") fit();
  else if (event.key in moves) { at.x += moves[event.key][0]; at.y += moves[event.key][1]; draw(); }
  else return;
  event.preventDefault();
});
document.querySelectorAll("#list button").forEach((button, number) => button.addEventListener("click", () => show(number)));
if (PICTURES.length) show(0);
