// The quality card as a readable panel. Every field of the card is shown in some form.

import { el, plain } from "./dom.js";

/** Fill the panel with a card. */
export function showCard(panel, card) {
  const parts = [el("h2", {}, card.bands ? "Quality card" : "About this result")];
  if (!Object.keys(card).length) {
    parts.push(el("p", { class: "note" }, "This image has no quality card."));
  } else {
    if (card.product) parts.push(product(card.product));
    if (card.models) parts.push(models(card.models));
    if (card.self_check) parts.push(selfCheck(card));
    if (card.bands) parts.push(...consistency(card));
    parts.push(el("details", {}, el("summary", {}, "All fields"), tree(card)));
  }
  panel.replaceChildren(...parts);
}

function product({ id, level, processing_baseline: baseline, offset }) {
  return el("div", { class: "block" },
    facts([["Product", id], ["Level", level], ["Baseline", baseline ?? "not stated"]]),
    offset ? el("div", { class: "callout" }, el("b", {}, "Radiometric offset"), el("span", {}, offset)) : null);
}

function models(entries) {
  return el("div", { class: "block" },
    el("h3", {}, "Models"),
    Object.entries(entries).map(([name, model]) => {
      const scores = model.scores_at_degraded_scale ?? {};
      const ratio = scores.rmse_ratio_to_bicubic;
      const kernels = Object.entries(scores.of_kernels ?? {}).map(([kernel, value]) => `${kernel} ${plain(value, 2)}`);
      const size = model.parameters ? `${(model.parameters / 1e6).toFixed(2)} M weights` : "no trained weights";
      return el("div", { class: "model" },
        el("div", { class: "model-head" }, el("b", {}, name), el("small", {}, size)),
        typeof ratio === "number" ? el("div", { class: "meter", title: "RMSE divided by that of bicubic interpolation; lower is better" },
          el("i", { style: `width:${Math.min(100, 100 * ratio)}%` }), el("em", {}, "bicubic")) : null,
        typeof ratio === "number" ? el("p", { class: "note" },
          `${plain(ratio, 2)} of the error of bicubic interpolation at degraded scale`,
          kernels.length ? ` (${kernels.join(", ")})` : "", scores.split ? `; ${scores.split} scenes` : "") : null);
    }));
}

/** Scores of the models on degraded windows of the product itself. */
function selfCheck(card) {
  const rows = Object.entries(card.bands).filter(([, band]) => band.self_check).map(([name, band]) => {
    const { ratio_to_bicubic: ratio, not_scored: reason, rmse_dn: rmse, bicubic_rmse_dn: bicubic } = band.self_check;
    const known = typeof ratio === "number";
    return el("tr", { title: known ? `RMSE ${rmse} DN, bicubic ${bicubic} DN` : reason },
      el("th", {}, name), el("td", { class: "bar" }, known
        ? el("div", { class: "meter" }, el("i", { class: ratio >= 1 ? "worse" : "", style: `width:${Math.min(100, 100 * ratio)}%` }))
        : el("small", {}, "not scored")),
      el("td", {}, known ? plain(ratio, 2) : ""));
  });
  const replaced = card.self_check.bicubic_bands ?? [];
  return el("div", { class: "block" },
    el("h3", {}, "Check on this product"),
    el("table", { class: "bars" }, rows),
    el("p", { class: "note" }, "RMSE at degraded scale divided by that of bicubic interpolation, on windows of this product; below 1 is better."),
    replaced.length ? el("div", { class: "callout" }, el("b", {}, "Interpolated instead"), el("span", {}, `${replaced.join(", ")}: the model was not better than bicubic interpolation`)) : null);
}

function consistency(card) {
  const entries = Object.entries(card.bands);
  const measured = entries.filter(([, band]) => typeof band.consistency?.relative === "number");
  const top = Math.max(0.01, ...measured.map(([, band]) => band.consistency.relative));
  const rows = entries.map(([name, band]) => {
    const relative = band.consistency?.relative;
    const known = typeof relative === "number";
    return el("tr", { title: known ? `RMSE ${band.consistency.rmse_dn} DN over ${band.consistency.pixels.toLocaleString("en")} pixels; model ${band.model}` : "not changed" },
      el("th", {}, name), el("td", { class: "native" }, `${band.native_gsd} m`),
      el("td", { class: "bar" }, known ? el("i", { style: `width:${100 * relative / top}%` }) : el("small", {}, "unchanged")),
      el("td", {}, known ? `${plain(100 * relative, 2)} %` : ""));
  });
  const valid = [...new Set(entries.map(([, band]) => band.valid_percent))].filter((value) => typeof value === "number");
  return [el("div", { class: "block" },
    el("h3", {}, "Consistency with the input"),
    el("table", { class: "bars" }, rows),
    el("p", { class: "note" }, `Difference between the measured band and the result degraded with kernel ${card.consistency_kernel ?? "mtf"}, relative to the mean of the band.`),
    facts([
      valid.length ? ["Pixels with data", `${Math.min(...valid)} %`] : null,
      ["Back-projection", card.back_projection_steps ? `${card.back_projection_steps} steps` : "off"],
      ["Computed on", [card.device, card.precision].filter(Boolean).join(", ")],
      ["Software", Object.entries(card.software ?? {}).map((pair) => pair.join(" ")).join(", ")],
    ]))];
}

function facts(rows) {
  return el("dl", { class: "facts" }, rows.filter((row) => row && row[1])
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
}

/** Any JSON value as nested lists. */
function tree(value) {
  if (value === null || typeof value !== "object") return el("span", {}, value === null ? "none" : String(value));
  if (Array.isArray(value) && value.every((each) => each === null || typeof each !== "object")) {
    return el("span", {}, value.join(", "));
  }
  return el("ul", { class: "tree" }, Object.entries(value).map(([key, each]) => el("li", {}, el("b", {}, key.replaceAll("_", " ")), " ", tree(each))));
}
