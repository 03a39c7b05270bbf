// The spectrum under the cursor: a plot before and after, and the values as a table.

import { el, load, plain, svg } from "./dom.js";

const WIDTH = 320, HEIGHT = 190;
const EDGE = { left: 36, right: 10, top: 12, bottom: 34 };
const TICKS = [0.45, 0.55, 0.67, 0.85, 1.6, 2.2];
const SIDES = [["before", "Before"], ["result", "After"]];

/** The panel of spectra; asks the server for the values of the place under the cursor. */
export class Spectrum {
  constructor(view, base, panel) {
    this.view = view;
    this.base = base;
    this.waiting = null;
    this.busy = false;
    this.top = 0.3;
    this.plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": "Spectrum" });
    this.note = el("p", { class: "note" }, "Move over the image. Click to keep a place, Esc to release it.");
    this.classes = el("div", { class: "shares" });
    this.table = el("table", { class: "values" });
    this.fold = el("details", {}, el("summary", {}, "Values"), this.table);
    const keys = SIDES.filter(([side]) => view.layers[side]?.bands.some((band) => band.wavelength))
      .map(([side, name]) => el("span", { class: `key ${side}` }, name));
    panel.replaceChildren(
      el("h2", {}, "Spectrum", keys.length > 1 ? el("span", { class: "keys" }, keys) : null),
      this.plot, this.note, this.classes, this.fold,
    );
    this.bands = spectral(view);
    this.plot.style.display = this.bands.length ? "" : "none";
    this.draw({});
  }

  /** Show the values of a place; of quick requests, only the last one is answered. */
  async show(coordinate) {
    this.waiting = coordinate;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.waiting) {
        const [x, y] = this.waiting;
        this.waiting = null;
        this.draw(await load(`${this.base}/values?x=${x}&y=${y}`));
      }
    } catch (error) {
      this.note.textContent = error.message;
    }
    this.busy = false;
  }

  draw(values) {
    this.values = values;
    const numbers = SIDES.flatMap(([side]) => this.bands.map(({ name }) => values[side]?.[name]));
    const known = numbers.filter((value) => value !== null && value !== undefined);
    const top = Math.max(0.1, ...known);
    if (top > this.top || top < this.top * 0.6) this.top = Math.ceil(top * 11) / 10;
    this.bottom = Math.min(0, ...known);
    this.plot.replaceChildren(...this.axes(), ...SIDES.flatMap(([side]) => this.line(side, values[side])));
    if (known.length) this.note.textContent = place(values);
    this.drawClasses(values);
    this.drawTable(values);
  }

  x(wavelength) {
    const share = Math.log(wavelength / 0.42) / Math.log(2.35 / 0.42);
    return EDGE.left + share * (WIDTH - EDGE.left - EDGE.right);
  }

  y(value) {
    const share = (value - this.bottom) / (this.top - this.bottom);
    return HEIGHT - EDGE.bottom - share * (HEIGHT - EDGE.top - EDGE.bottom);
  }

  axes() {
    const step = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2].find((each) => this.top / each <= 5) ?? 5;
    const marks = [];
    for (let value = 0; value <= this.top + 1e-9; value += step) {
      const y = this.y(value);
      marks.push(svg("line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y, y2: y, class: "grid" }));
      marks.push(svg("text", { x: EDGE.left - 6, y: y + 3.5, class: "tick end" }, value.toFixed(step < 0.1 ? 2 : 1)));
    }
    for (const tick of TICKS) {
      marks.push(svg("text", { x: this.x(tick), y: HEIGHT - EDGE.bottom + 15, class: "tick middle" }, String(tick)));
    }
    marks.push(svg("text", { x: WIDTH - EDGE.right, y: HEIGHT - 5, class: "tick end" }, "wavelength, µm"));
    marks.push(svg("text", { x: EDGE.left, y: HEIGHT - 5, class: "tick" }, "reflectance"));
    return marks;
  }

  line(side, values) {
    if (!values) return [];
    const points = this.bands.filter(({ name }) => typeof values[name] === "number")
      .map(({ name, wavelength }) => ({ name, x: this.x(wavelength), y: this.y(values[name]) }));
    const path = points.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    return [
      svg("path", { d: path, class: `curve ${side}` }),
      ...points.map(({ name, x, y }) => svg("circle", { cx: x, cy: y, r: side === "result" ? 3 : 3.6, class: `dot ${side}` },
        svg("title", {}, `${name}: ${plain(values[name])}`))),
    ];
  }

  /** The most probable classes of a land-cover map. */
  drawClasses(values) {
    const layer = this.view.layers.result;
    const number = values.result?.classes;
    const entry = layer.classes.find(({ value }) => value === number);
    const shares = Object.entries(values.result ?? {})
      .filter(([name, value]) => name !== "classes" && !this.bands.some((band) => band.name === name) && value !== null)
      .sort((one, other) => other[1] - one[1]).slice(0, 6);
    const colour = (name) => layer.classes.find((each) => each.name === name)?.colour;
    this.classes.replaceChildren(
      ...(entry ? [el("p", { class: "class-now" }, swatch(entry.colour), entry.name)] : []),
      ...shares.map(([name, value]) => el("div", { class: "share" },
        el("span", {}, name), el("b", {}, plain(value, 2)),
        el("i", { style: `width:${Math.min(100, Math.max(0, 100 * value))}%;${colour(name) ? `background:rgb(${colour(name).slice(0, 3)})` : ""}` }))),
    );
  }

  drawTable(values) {
    this.fold.hidden = !this.bands.length;
    const sides = SIDES.filter(([side]) => this.view.layers[side] && values[side]);
    const rows = this.bands.map(({ name }) => el("tr", {},
      el("th", {}, name),
      ...sides.map(([side]) => el("td", { class: side }, plain(values[side][name], 4))),
      sides.length > 1 ? el("td", {}, difference(values, name)) : null));
    const head = el("tr", {}, el("th"), ...sides.map(([, name]) => el("th", {}, name)), sides.length > 1 ? el("th", {}, "Change") : null);
    this.table.replaceChildren(head, ...rows);
  }
}

/** A coloured square. */
export function swatch(colour) {
  return el("i", { class: "swatch", style: `background:rgba(${colour.slice(0, 3)},${colour[3] / 255})` });
}

function spectral(view) {
  const bands = SIDES.flatMap(([side]) => view.layers[side]?.bands ?? []).filter((band) => band.wavelength);
  const once = [...new Map(bands.map((band) => [band.name, band])).values()];
  return once.sort((one, other) => one.wavelength - other.wavelength);
}

function difference(values, name) {
  const { before, result } = values;
  if (typeof before[name] !== "number" || typeof result[name] !== "number") return "–";
  const change = result[name] - before[name];
  return Math.abs(change) < 5e-5 ? "0" : `${change > 0 ? "+" : ""}${plain(change, 4)}`;
}

function place({ lon, lat }) {
  const part = (value, names) => `${Math.abs(value).toFixed(5)}° ${names[value < 0 ? 1 : 0]}`;
  return `${part(lat, "NS")}, ${part(lon, "EW")}`;
}
