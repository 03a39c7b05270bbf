// What is shown: a style for both sides of the swipe line, and the address of its tiles.

// With an image before, a composite in which the two sides differ comes first.
const FIRST = { alone: ["True colour", "False colour", "SWIR"], compared: ["Vegetation", "SWIR", "True colour"] };

/** The style to begin with. */
export function firstStyle(view) {
  const bands = view.layers.result.bands.map((band) => band.name);
  const style = { kind: "composite", bands: [], band: "", index: "", scale: "viridis", gamma: 1.25, limits: {} };
  const order = view.layers.before ? FIRST.compared : FIRST.alone;
  const preset = order.map((name) => view.presets[name]).find((found) => found) ?? Object.values(view.presets)[0];
  const all = allBands(view);
  style.bands = [...(preset ?? [all[0], all[1] ?? all[0], all[2] ?? all[0]])];
  style.band = all.includes("B11") ? "B11" : all[0];
  style.index = view.indices[0]?.name ?? "";
  if (view.first_bands.length === 3) style.bands = [...view.first_bands];
  else if (view.first_bands.length === 1) Object.assign(style, { kind: "band", band: view.first_bands[0] });
  else if (bands.includes("classes")) style.kind = "classes";
  else if (!preset) style.kind = all.length >= 3 && bands.length < 6 ? "composite" : "band";
  return style;
}

/** Names of all bands that can be shown as numbers. */
export function allBands(view) {
  const names = ["result", "before"].flatMap((side) => view.layers[side]?.bands ?? []).map((band) => band.name);
  return [...new Set(names)].filter((name) => name !== "classes");
}

/** The bands that a style reads. */
export function bandsOf(view, style) {
  if (style.kind === "classes") return ["classes"];
  if (style.kind === "band") return [style.band];
  if (style.kind === "composite") return style.bands;
  const index = view.indices.find((each) => each.name === style.index);
  return [index.a, index.b];
}

/** Values at the ends of the colours of a band. */
export function limitsOf(view, style, name) {
  return style.limits[name] ?? view.limits[name] ?? [0, 1];
}

/** Values at the ends of the colour scale of a band or an index. */
export function scaleLimits(view, style) {
  if (style.kind === "band") return limitsOf(view, style, style.band);
  const index = view.indices.find((each) => each.name === style.index);
  return style.limits[index.name] ?? index.limits;
}

/** The colour scale of a band or an index. */
export function scaleOf(view, style) {
  if (style.kind === "band") return style.scale;
  return style.indexScale ?? view.indices.find((each) => each.name === style.index).scale;
}

/** Whether a side has the bands of a style. */
export function canShow(view, side, style) {
  const names = view.layers[side].bands.map((band) => band.name);
  return bandsOf(view, style).every((name) => names.includes(name));
}

/** The parameters of the tiles of a side; a side without the bands shows something else. */
export function tileQuery(view, side, style) {
  if (!canShow(view, side, style)) {
    const names = view.layers[side].bands.map((band) => band.name);
    const preset = Object.values(view.presets).find((bands) => bands.every((name) => names.includes(name)));
    if (preset) return tileQuery(view, side, { ...style, kind: "composite", bands: preset });
    if (names.includes("classes")) return "style=classes";
    return tileQuery(view, side, { ...style, kind: "band", band: names[0] });
  }
  if (style.kind === "classes") return "style=classes";
  const query = new URLSearchParams({ style: style.kind });
  if (style.kind === "composite") {
    const limits = style.bands.map((name) => limitsOf(view, style, name));
    query.set("bands", style.bands.join(","));
    query.set("low", limits.map((pair) => pair[0]).join(","));
    query.set("high", limits.map((pair) => pair[1]).join(","));
    query.set("gamma", style.gamma);
  } else {
    const [low, high] = scaleLimits(view, style);
    query.set(style.kind === "band" ? "bands" : "index", style.kind === "band" ? style.band : style.index);
    query.set("low", low);
    query.set("high", high);
    query.set("scale", scaleOf(view, style));
  }
  return query.toString();
}

/** What is shown, in words. */
export function titleOf(view, style) {
  if (style.kind === "classes") return "Land cover";
  if (style.kind === "band") return style.band;
  if (style.kind === "index") return style.index;
  const same = ([, bands]) => bands.join() === style.bands.join();
  const preset = Object.entries(view.presets).find(same)?.[0];
  return `${preset ? `${preset}, ` : ""}${style.bands.join(" ")}`;
}
