// The panel that chooses what is shown: composite, band, index, land cover.

import { el, load, say } from "./dom.js";
import { allBands, bandsOf, scaleLimits, scaleOf } from "./style_state.js";
import { swatch } from "./spectrum.js";

const KINDS = [["composite", "Composite"], ["band", "Band"], ["index", "Index"], ["classes", "Land cover"]];

/** The panel; calls `changed` after each change of the style. */
export class Controls {
  constructor(view, scene, style, panel, changed) {
    Object.assign(this, { view, scene, style, panel, changed, base: scene.base });
    this.draw();
  }

  set(changes) {
    Object.assign(this.style, changes);
    this.draw();
    this.changed();
  }

  get kinds() {
    const { view } = this;
    const possible = {
      composite: allBands(view).length >= 3, band: allBands(view).length > 0,
      index: view.indices.length > 0, classes: view.layers.result.classes.length > 0,
    };
    return KINDS.filter(([kind]) => possible[kind]);
  }

  /** Choose the preset or the index of a number. */
  choose(number) {
    const presets = Object.values(this.view.presets);
    if (this.style.kind === "index" && this.view.indices[number]) this.set({ index: this.view.indices[number].name });
    else if (presets[number]) this.set({ kind: "composite", bands: [...presets[number]] });
  }

  /** Go to the next way of display. */
  next() {
    const kinds = this.kinds.map(([kind]) => kind);
    this.set({ kind: kinds[(kinds.indexOf(this.style.kind) + 1) % kinds.length] });
  }

  draw() {
    const { style } = this;
    const focused = document.activeElement?.dataset?.key;
    const tabs = el("div", { class: "segments", role: "tablist" }, this.kinds.map(([kind, name]) =>
      el("button", { role: "tab", "aria-selected": String(style.kind === kind), "data-key": `kind ${kind}`, onclick: () => this.set({ kind }) }, name)));
    const body = { composite: () => this.composite(), band: () => this.band(), index: () => this.index(), classes: () => this.legend() };
    this.panel.replaceChildren(tabs, ...body[style.kind](), ...(style.kind === "classes" ? [] : this.contrast()));
    if (focused) this.panel.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  composite() {
    const { view, style } = this;
    const presets = Object.entries(view.presets).map(([name, bands], number) =>
      choice(name, bands.join(" "), style.bands.join() === bands.join(), `preset ${name}`, () => this.set({ bands: [...bands] }), number + 1));
    const channels = ["Red", "Green", "Blue"].map((colour, place) => el("label", { class: `channel ${colour.toLowerCase()}` },
      el("span", {}, colour), this.select(allBands(view), style.bands[place], `channel ${colour}`, (name) => this.set({ bands: style.bands.with(place, name) }))));
    return [presets.length ? el("div", { class: "choices" }, presets) : null, el("div", { class: "channels" }, channels)].filter(Boolean);
  }

  band() {
    const { view, style } = this;
    const gsd = Object.fromEntries((view.layers.before ?? view.layers.result).bands.map((band) => [band.name, band.pixel]));
    const names = allBands(view);
    const short = names.every((name) => name.length < 5);
    const buttons = names.map((name) => el("button", {
      class: "band", "aria-pressed": String(style.band === name), "data-key": `band ${name}`, onclick: () => this.set({ band: name }),
    }, name, short && gsd[name] ? el("small", {}, `${gsd[name]} m`) : null));
    return [el("div", { class: short ? "bands" : "bands long" }, buttons), this.scaleBar()];
  }

  index() {
    const { view, style } = this;
    const buttons = view.indices.map(({ name, title, a, b }, number) =>
      choice(name, `${title} · ${a}, ${b}`, style.index === name, `index ${name}`, () => this.set({ index: name, indexScale: undefined }), number + 1));
    return [el("div", { class: "choices" }, buttons), this.scaleBar()];
  }

  /** The colour scale with its ends, which can be changed. */
  scaleBar() {
    const { view, style } = this;
    const [low, high] = scaleLimits(view, style);
    const scale = scaleOf(view, style);
    const key = style.kind === "band" ? style.band : style.index;
    const field = (value, place) => el("input", {
      type: "number", step: "0.01", value: value.toFixed(3), "aria-label": place ? "Highest value" : "Lowest value", "data-key": `limit ${place}`,
      onchange: (event) => {
        const limits = [low, high].with(place, Number(event.target.value));
        if (limits[0] < limits[1]) this.set({ limits: { ...style.limits, [key]: limits } });
        else say("The lowest value must be below the highest one.");
      },
    });
    return el("div", { class: "scale" },
      el("div", { class: "ramp", style: `background:linear-gradient(90deg,${view.scales[scale].join(",")})` }),
      el("div", { class: "ends" }, field(low, 0),
        this.select(Object.keys(view.scales), scale, "scale", (name) => this.set(style.kind === "band" ? { scale: name } : { indexScale: name })), field(high, 1)));
  }

  legend() {
    const { classes } = this.view.layers.result;
    return [el("ul", { class: "legend" }, classes.map((entry) => el("li", {}, swatch(entry.colour), entry.name)))];
  }

  contrast() {
    const { style } = this;
    const names = bandsOf(this.view, style);
    const key = style.kind === "index" ? [] : names;
    const own = key.some((name) => name in style.limits);
    const gamma = el("label", { class: "slider" }, el("span", {}, "Brightness"),
      el("input", { type: "range", min: "-1", max: "1", step: "0.05", value: Math.log2(style.gamma), "data-key": "gamma", oninput: (event) => {
        style.gamma = 2 ** Number(event.target.value);
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.changed(), 120);
      } }));
    if (style.kind === "index") return [];
    return [el("h3", {}, "Contrast"),
      el("div", { class: "segments small" },
        el("button", { "aria-pressed": String(!own), "data-key": "all", onclick: () => this.set({ limits: {} }) }, "2–98 % of image"),
        el("button", { "aria-pressed": String(own), "data-key": "view", onclick: () => this.stretchToView() }, "2–98 % of view")),
      style.kind === "composite" ? gamma : null].filter(Boolean);
  }

  /** Stretch the colours by the visible part of the image. */
  async stretchToView() {
    const part = this.scene.visible();
    if (!part) return say("The image is not in view.");
    const [west, south, east, north] = part;
    try {
      const limits = await load(`${this.base}/limits?west=${west}&south=${south}&east=${east}&north=${north}`);
      this.set({ limits: Object.fromEntries(Object.entries(limits).filter(([, pair]) => pair)) });
    } catch (error) {
      say(error.message);
    }
    return undefined;
  }

  select(names, chosen, key, choose) {
    return el("select", { "aria-label": key, "data-key": key, onchange: (event) => choose(event.target.value) },
      names.map((name) => el("option", { value: name, selected: name === chosen }, name)));
  }
}

function choice(name, detail, chosen, key, choose, number) {
  return el("button", { class: "choice", "aria-pressed": String(chosen), "data-key": key, onclick: choose },
    el("span", {}, name, el("small", {}, detail)), number < 10 ? el("kbd", {}, String(number)) : null);
}

