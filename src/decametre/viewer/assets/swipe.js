// The swipe line: a slider over the map, for pointer and keyboard.

/** Connect the element `#swipe` with a map. */
export function connectSwipe(scene) {
  const line = document.getElementById("swipe");
  const stage = document.getElementById("stage");
  line.hidden = !scene.hasBefore;
  document.getElementById("labels").classList.toggle("single", !scene.hasBefore);
  if (!scene.hasBefore) return { move() {}, draw() {} };

  function draw() {
    line.style.left = `${100 * scene.shownShare}%`;
    line.setAttribute("aria-valuenow", Math.round(100 * scene.share));
    const [before, after] = document.getElementById("labels").children;
    before.classList.toggle("faded", scene.shownShare < 0.08);
    after.classList.toggle("faded", scene.shownShare > 0.92);
  }

  function set(share) {
    scene.setShare(share);
    draw();
  }

  line.onpointerdown = (event) => {
    line.setPointerCapture(event.pointerId);
    line.classList.add("dragged");
    line.focus({ preventScroll: true });
    event.preventDefault();
  };
  line.onpointermove = (event) => {
    if (!line.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    set((event.clientX - box.left) / box.width);
  };
  line.onpointerup = line.onpointercancel = () => line.classList.remove("dragged");
  draw();
  return { draw, set, move: (step) => set(scene.share + step) };
}
