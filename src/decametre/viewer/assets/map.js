// The map of one scene: two image layers under one swipe line, in the image's own coordinates.

import { tileQuery } from "./style_state.js";

/** The map of a scene in the element `#map`. */
export class SceneMap {
  constructor(view, base, baseMap) {
    this.view = view;
    this.base = base;
    this.share = 0.5;
    this.flipped = false;
    this.projection = ol.proj.get(view.crs)
      ?? new ol.proj.Projection({ code: view.crs, units: "m", extent: view.bounds });
    this.layers = {};
    for (const side of ["before", "result"]) {
      if (view.layers[side]) this.layers[side] = this.imageLayer(side);
    }
    this.marker = new ol.layer.Vector({ source: new ol.source.Vector(), style: pin() });
    const layers = [...Object.values(this.layers), this.marker];
    if (baseMap) layers.unshift(new ol.layer.Tile({ source: new ol.source.OSM(), className: "base-map" }));
    const finest = view.resolutions.at(-1);
    this.map = new ol.Map({
      target: "map",
      layers,
      controls: [
        new ol.control.ScaleLine({ minWidth: 90 }),
        ...(baseMap ? [new ol.control.Attribution({ collapsible: false })] : []),
      ],
      interactions: ol.interaction.defaults.defaults({ altShiftDragRotate: false, pinchRotate: false, keyboard: false }),
      view: new ol.View({
        projection: this.projection,
        center: ol.extent.getCenter(view.bounds),
        minResolution: finest / 24,
        maxResolution: view.resolutions[0] * 3,
        resolution: view.resolutions[0],
        showFullExtent: true,
        extent: baseMap ? undefined : ol.extent.buffer(view.bounds, ol.extent.getWidth(view.bounds)),
      }),
    });
    this.fit();
  }

  imageLayer(side) {
    const { bounds, resolutions, tile_size: tileSize } = this.view;
    const tileGrid = new ol.tilegrid.TileGrid({
      extent: bounds, origin: [bounds[0], bounds[3]], resolutions, tileSize,
    });
    const source = new ol.source.TileImage({
      projection: this.projection, tileGrid, interpolate: false, transition: 0,
    });
    const layer = new ol.layer.Tile({ source, extent: bounds, preload: 1 });
    layer.on("prerender", (event) => this.clip(event, side));
    layer.on("postrender", (event) => event.context.restore());
    return layer;
  }

  /** Whether there is something to compare. */
  get hasBefore() {
    return "before" in this.layers;
  }

  /** Limit the drawing of a layer to its side of the swipe line. */
  clip(event, side) {
    const context = event.context;
    const [width, height] = this.map.getSize();
    const line = this.hasBefore ? width * this.shownShare : 0;
    const [left, right] = side === "before" ? [0, line] : [line, width];
    const corners = [[left, 0], [right, 0], [right, height], [left, height]];
    context.save();
    context.beginPath();
    corners.map((corner) => ol.render.getRenderPixel(event, corner))
      .forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.clip();
  }

  /** Position of the swipe line; while a key is held, all of the image before is shown. */
  get shownShare() {
    return this.flipped ? 1 : this.share;
  }

  setShare(share) {
    this.share = Math.min(1, Math.max(0, share));
    this.map.render();
  }

  setFlipped(flipped) {
    this.flipped = flipped;
    this.map.render();
  }

  /** Show a style on both sides. */
  setStyle(style) {
    for (const [side, layer] of Object.entries(this.layers)) {
      const query = tileQuery(this.view, side, style);
      const source = layer.getSource();
      if (source.getKey() === query) continue;
      const address = ([z, x, y]) => `${this.base}/tiles/${side}/${z}/${x}/${y}.png?${query}`;
      source.setTileUrlFunction(address, query);
    }
  }

  fit() {
    this.map.getView().fit(this.view.bounds, { padding: [28, 28, 28, 28] });
  }

  zoom(steps) {
    const view = this.map.getView();
    view.animate({ zoom: view.getZoom() + steps, duration: 150 });
  }

  pan(x, y) {
    const view = this.map.getView();
    const step = view.getResolution() * 120;
    const [east, north] = view.getCenter();
    view.animate({ center: [east + x * step, north + y * step], duration: 120 });
  }

  /** The visible part of the image: west, south, east, north; null if none is visible. */
  visible() {
    const extent = this.map.getView().calculateExtent(this.map.getSize());
    const part = ol.extent.getIntersection(extent, this.view.bounds);
    return ol.extent.isEmpty(part) ? null : part;
  }

  contains(coordinate) {
    return ol.extent.containsCoordinate(this.view.bounds, coordinate);
  }

  /** Mark a place; null removes the mark. */
  mark(coordinate) {
    const source = this.marker.getSource();
    source.clear();
    if (coordinate) source.addFeature(new ol.Feature(new ol.geom.Point(coordinate)));
  }

  close() {
    this.map.setTarget(undefined);
  }
}

function pin() {
  const ring = (radius, color, width) => new ol.style.Style({
    image: new ol.style.Circle({ radius, stroke: new ol.style.Stroke({ color, width }) }),
  });
  return [ring(8, "rgba(8,11,15,.85)", 5), ring(8, "#ffffff", 2)];
}
