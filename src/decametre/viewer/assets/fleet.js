// The map of a fleet: footprints of the completed products, coloured by their residual.

import { el, load, plain } from "./dom.js";

const COLOURS = ["#63d2a8", "#a6d96a", "#e3c857", "#e39a57", "#e0645c"];
const NONE = "#8fa3b8";

/** Show the fleet; `open` is called with the number of a chosen product. */
export async function showFleet(site, open) {
  const products = await load("fleet.json");
  const known = products.map(({ residual }) => residual).filter((value) => value !== null).sort((a, b) => a - b);
  const edges = [0.2, 0.4, 0.6, 0.8].map((share) => known[Math.floor(share * known.length)]);
  const colour = ({ residual }) => (residual === null ? NONE : COLOURS[edges.filter((edge) => residual > edge).length]);
  const format = new ol.format.GeoJSON();
  const features = products.filter(({ geometry }) => geometry).map((product) => {
    const geometry = format.readGeometry(product.geometry, { featureProjection: "EPSG:3857" });
    const feature = new ol.Feature({ geometry, product });
    feature.setId(product.number);
    return feature;
  });
  const footprints = new ol.source.Vector({ features });
  let lifted = null;
  const style = (feature) => {
    const active = feature === lifted;
    const shade = colour(feature.get("product"));
    return new ol.style.Style({
      zIndex: active ? 1 : 0,
      fill: new ol.style.Fill({ color: `${shade}${active ? "66" : "2e"}` }),
      stroke: new ol.style.Stroke({ color: shade, width: active ? 3 : 1.6 }),
      text: new ol.style.Text({ text: feature.get("product").tile ?? "", font: "600 12px system-ui", fill: new ol.style.Fill({ color: "#f2f5f8" }), overflow: false }),
    });
  };
  const map = new ol.Map({
    target: "map",
    layers: [...background(site.base_map), new ol.layer.Vector({ source: footprints, style })],
    controls: [new ol.control.ScaleLine({ minWidth: 90 }), ...(site.base_map ? [new ol.control.Attribution({ collapsible: false })] : [])],
    view: new ol.View({ center: [0, 0], zoom: 2, minZoom: 1, maxZoom: 15, multiWorld: false }),
  });
  const fit = () => map.getView().fit(footprints.getExtent(), { padding: [80, 80, 80, 80], maxZoom: 9 });
  if (features.length) fit();

  const rows = new Map();
  function lift(feature) {
    if (feature === lifted) return;
    rows.get(lifted?.getId())?.classList.remove("lifted");
    lifted = feature;
    rows.get(lifted?.getId())?.classList.add("lifted");
    footprints.changed();
    map.getTargetElement().style.cursor = feature ? "pointer" : "";
  }
  map.on("pointermove", (event) => lift(map.forEachFeatureAtPixel(event.pixel, (feature) => (feature.getId() === undefined ? undefined : feature)) ?? null));
  map.on("singleclick", (event) => {
    const feature = map.forEachFeatureAtPixel(event.pixel, (each) => (each.getId() === undefined ? undefined : each));
    if (feature) open(feature.getId());
  });

  const list = el("ol", { class: "products" }, products.map((product) => {
    const row = el("li", {}, el("button", {
      onclick: () => open(product.number),
      onpointerenter: () => lift(footprints.getFeatureById(product.number)),
      onfocus: () => lift(footprints.getFeatureById(product.number)),
    }, el("i", { class: "swatch", style: `background:${colour(product)}` }),
    el("span", {}, product.name, el("small", {}, details(product)))));
    rows.set(product.number, row);
    return row;
  }));
  const search = el("input", { type: "search", placeholder: "Search by name, tile or date", "aria-label": "Search products", oninput: (event) => {
    const text = event.target.value.toLowerCase();
    products.forEach((product) => { rows.get(product.number).hidden = !`${product.name} ${product.tile} ${product.datetime}`.toLowerCase().includes(text); });
  } });
  const legend = known.length > 1 ? el("div", { class: "fleet-legend" },
    el("div", { class: "ramp", style: `background:linear-gradient(90deg,${COLOURS.join(",")})` }),
    el("div", { class: "ends" }, el("span", {}, `${plain(100 * known[0], 2)} %`), el("span", {}, "mean residual"), el("span", {}, `${plain(100 * known.at(-1), 2)} %`))) : null;
  document.getElementById("display").replaceChildren(
    el("h2", {}, `${products.length} completed ${products.length === 1 ? "product" : "products"}`), search, ...(legend ? [legend] : []), list);
  return { map, fit, close: () => map.setTarget(undefined) };
}

/** Coast lines and a grid of degrees, or a base map from the internet. */
function background(baseMap) {
  if (baseMap) return [new ol.layer.Tile({ source: new ol.source.OSM(), className: "base-map" })];
  const land = new ol.layer.Vector({
    source: new ol.source.Vector({ url: "assets/vendor/land-50m.json", format: new ol.format.TopoJSON({ layers: ["land"] }), wrapX: false }),
    style: new ol.style.Style({ fill: new ol.style.Fill({ color: "#1b222b" }), stroke: new ol.style.Stroke({ color: "#39434f", width: 1 }) }),
  });
  const grid = new ol.layer.Graticule({ strokeStyle: new ol.style.Stroke({ color: "rgba(160,175,190,.10)", width: 1 }), showLabels: false, wrapX: false });
  return [land, grid];
}

function details({ datetime, cloud_cover: clouds, residual }) {
  return [
    datetime ? datetime.slice(0, 10) : null,
    typeof clouds === "number" ? `${Math.round(clouds)} % cloud` : null,
    residual === null ? null : `residual ${plain(100 * residual, 2)} %`,
  ].filter(Boolean).join(" · ");
}
