// Keyboard: every function of the page without a pointer.

import { el } from "./dom.js";

const KEYS = [
  ["← →", "Move the swipe line; with Shift in large steps"],
  ["Space", "Hold to show all of the image before"],
  ["1 – 9", "Composites; indices while an index is shown"],
  ["M", "Next way of display: composite, band, index, land cover"],
  ["+ −", "Zoom"],
  ["W A S D", "Move the map (with Alt)"],
  ["F", "Show all"],
  ["P", "Keep the spectrum at the centre of the map"],
  ["Esc", "Release the kept place"],
  ["S", "Save the view as PNG"],
  ["?", "This list"],
];
const MOVES = { KeyW: [0, 1], KeyA: [-1, 0], KeyS: [0, -1], KeyD: [1, 0] };

/** Handle keys for a scene; returns a function that ends it. */
export function connectKeys({ scene, swipe, controls, save, pin, release }) {
  const typing = (target) => target.closest?.("input, select, textarea, dialog") !== null;

  function down(event) {
    if (event.ctrlKey || event.metaKey || typing(event.target)) return;
    if (event.altKey) {
      if (MOVES[event.code]) scene.pan(...MOVES[event.code]);
      else return;
      event.preventDefault();
      return;
    }
    const step = event.shiftKey ? 0.1 : 0.02;
    const actions = {
      ArrowLeft: () => swipe.move(-step),
      ArrowRight: () => swipe.move(step),
      "+": () => scene.zoom(1), "=": () => scene.zoom(1), "-": () => scene.zoom(-1),
      f: () => scene.fit(), s: save, m: () => controls.next(), p: pin,
      Escape: release, "?": showHelp,
    };
    if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") {
      if (!event.repeat) flip(true);
    } else if (/^[1-9]$/.test(event.key)) controls.choose(Number(event.key) - 1);
    else if (actions[event.key.length === 1 ? event.key.toLowerCase() : event.key]) actions[event.key.length === 1 ? event.key.toLowerCase() : event.key]();
    else return;
    event.preventDefault();
  }

  function up(event) {
    if (event.key === " ") flip(false);
  }

  function flip(flipped) {
    if (!scene.hasBefore) return;
    scene.setFlipped(flipped);
    swipe.draw();
  }

  document.addEventListener("keydown", down);
  document.addEventListener("keyup", up);
  return () => {
    document.removeEventListener("keydown", down);
    document.removeEventListener("keyup", up);
  };
}

/** Show the list of keys. */
export function showHelp() {
  const dialog = document.getElementById("help");
  dialog.replaceChildren(
    el("h2", {}, "Keys"),
    el("dl", { class: "keys-list" }, KEYS.flatMap(([keys, text]) => [el("dt", {}, el("kbd", {}, keys)), el("dd", {}, text)])),
    el("button", { class: "close", autofocus: true, onclick: () => dialog.close() }, "Close"));
  if (!dialog.open) dialog.showModal();
}
