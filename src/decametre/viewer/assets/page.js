// Entry of the page: opens the fleet or the scene that the address names.

import { showCard } from "./card.js";
import { Controls } from "./controls.js";
import { downloadView } from "./download.js";
import { el, load, say } from "./dom.js";
import { showFleet } from "./fleet.js";
import { showHelp, connectKeys } from "./keys.js";
import { SceneMap } from "./map.js";
import { Spectrum } from "./spectrum.js";
import { bandsOf, firstStyle, titleOf } from "./style_state.js";
import { connectSwipe } from "./swipe.js";

const byId = (id) => document.getElementById(id);
let shown = null;

async function start() {
  const site = await load("site.json");
  window.addEventListener("hashchange", () => show(site));
  await show(site);
}

/** Show what the fragment of the address names: `#product-3`, or the fleet. */
async function show(site) {
  shown?.close();
  const number = Number(location.hash.match(/^#product-(\d+)$/)?.[1] ?? 0);
  const isFleet = site.kind === "fleet" && !location.hash.startsWith("#product-");
  document.body.className = isFleet ? "fleet" : "scene";
  try {
    if (isFleet) {
      byId("swipe").hidden = true;
      head(site.title, "fleet");
      shown = await showFleet(site, (chosen) => { location.hash = `product-${chosen}`; });
      tools([["Fit", "f", icons.fit, shown.fit]]);
      tabs([["display", "Products"]]);
    } else {
      shown = await showScene(site, `products/${number}`);
    }
  } catch (error) {
    say(error.message);
  }
  document.body.dataset.ready = "yes";
}

async function showScene(site, base) {
  byId("display").replaceChildren(el("p", { class: "note" }, "Loading …"));
  const view = await load(`${base}/view.json`);
  document.title = `${view.title} · decametre`;
  head(view.title, site.kind === "fleet" ? "back" : null);
  const scene = new SceneMap(view, base, site.base_map);
  const style = firstStyle(view);
  const swipe = connectSwipe(scene);
  const spectrum = new Spectrum(view, base, byId("spectrum"));
  showCard(byId("quality"), view.card);
  const changed = () => { scene.setStyle(style); labels(view, style); };
  const controls = new Controls(view, scene, style, byId("display"), changed);
  changed();

  let pinned = null;
  const pin = (coordinate) => {
    pinned = coordinate;
    scene.mark(coordinate);
    if (coordinate) spectrum.show(coordinate);
  };
  scene.map.on("pointermove", (event) => {
    if (event.dragging) return;
    byId("place").textContent = event.coordinate.map((value) => Math.round(value).toLocaleString("en").replaceAll(",", " ")).join("  ");
    if (!pinned && scene.contains(event.coordinate)) spectrum.show(event.coordinate);
  });
  scene.map.on("singleclick", (event) => pin(scene.contains(event.coordinate) ? event.coordinate : null));

  const save = () => downloadView(scene, `${view.title}   ${titleOf(view, style)}${scene.hasBefore ? "   before | after" : ""}   decametre`, `${view.title} ${titleOf(view, style)}`.replaceAll(/[^\w-]+/g, "_"));
  tools([
    ["Zoom in", "+", icons.plus, () => scene.zoom(1)],
    ["Zoom out", "−", icons.minus, () => scene.zoom(-1)],
    ["Show all", "F", icons.fit, () => scene.fit()],
    ["Save as PNG", "S", icons.save, save],
    ["Keys", "?", icons.help, showHelp],
  ]);
  tabs([["display", "Display"], ["spectrum", "Spectrum"], ["quality", "Quality"]]);
  const disconnect = connectKeys({ scene, swipe, controls, save, pin: () => pin(scene.map.getView().getCenter()), release: () => pin(null) });
  window.decametre = { scene, style, controls, spectrum };
  return { close: () => { disconnect(); scene.close(); } };
}

function labels(view, style) {
  const [before, after] = byId("labels").querySelectorAll("small");
  const titles = view.layers.result.classes.length ? ["Image", "Map"] : ["Before", "After"];
  byId("labels").querySelectorAll("b").forEach((title, side) => { title.textContent = titles[side]; });
  const names = bandsOf(view, style);
  const pixels = (side) => {
    const bands = view.layers[side].bands.filter(({ name }) => names.includes(name));
    const sizes = [...new Set(bands.map(({ pixel }) => pixel))].sort((one, other) => one - other);
    return sizes.length ? `${sizes.join(", ")} m` : "";
  };
  if (view.layers.before) before.textContent = pixels("before");
  after.textContent = pixels("result");
  byId("labels").dataset.title = titleOf(view, style);
}

function head(title, kind) {
  byId("head").replaceChildren(
    el("img", { src: "assets/icon.svg", alt: "", width: 26, height: 26 }),
    el("div", {}, kind === "back" ? el("a", { href: "#", class: "back" }, "← All products") : el("small", {}, kind === "fleet" ? "decametre fleet" : "decametre"), el("h1", { title }, title)));
}

const icon = (path) => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;
const icons = {
  plus: icon("M12 5v14M5 12h14"),
  minus: icon("M5 12h14"),
  fit: icon("M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5"),
  save: icon("M12 4v11M7 11l5 5 5-5M5 20h14"),
  help: icon("M9 9a3 3 0 1 1 4.2 2.7c-.8.4-1.2 1-1.2 1.9v.6M12 18v.1"),
};

function tools(entries) {
  byId("tools").replaceChildren(...entries.map(([name, key, picture, act]) => {
    const button = el("button", { title: `${name} (${key})`, "aria-label": name, onclick: act });
    button.innerHTML = picture;
    return button;
  }));
}

/** The tabs at the bottom of narrow screens; a second click closes the panel. */
function tabs(entries) {
  const open = (id) => {
    const same = document.body.dataset.panel === id;
    document.body.dataset.panel = same ? "" : id;
    for (const button of byId("tabs").children) button.setAttribute("aria-pressed", String(!same && button.dataset.panel === id));
  };
  byId("tabs").replaceChildren(...entries.map(([id, name]) => el("button", { "data-panel": id, "aria-pressed": "false", onclick: () => open(id) }, name)));
  document.body.dataset.panel = "";
}

start().catch((error) => say(error.message));
