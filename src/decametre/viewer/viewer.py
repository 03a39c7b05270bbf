"""A running viewer."""

from __future__ import annotations

import html
from pathlib import Path
from threading import Thread
from typing import Self

from decametre.viewer.fleet_folder import CATALOG, FleetFolder
from decametre.viewer.opening import open_scene
from decametre.viewer.options import ViewOptions
from decametre.viewer.server import ViewServer
from decametre.viewer.site import Site


class Viewer:
    """A local map in the browser, served until it is closed; a context manager.

    In a notebook, the object is shown as the map.

    Args:
        site: What is shown.
        port: Port of the server; 0 chooses a free one.

    Raises:
        ViewError: The port cannot be used.
    """

    def __init__(self, site: Site, port: int = 0) -> None:
        self._server = ViewServer(site, port)
        self._thread: Thread | None = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the page. Its secret part grants access; do not publish it."""
        return self._server.url

    def wait(self) -> None:
        """Wait until the viewer is closed, by another thread or a signal."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(1.0)  # signals are handled between the waits

    def close(self) -> None:
        """Stop the server; repeated calls have no effect."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
            self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<decametre viewer at {self.url}>" if self._thread else "<decametre viewer, closed>"

    def _repr_html_(self) -> str:
        if self._thread is None:
            return "<p>The viewer is closed.</p>"
        style = "width:100%;height:680px;border:0;border-radius:8px"
        return f'<iframe src="{html.escape(self.url)}" style="{style}" allowfullscreen></iframe>'


def open_viewer(result: str, before: str | None, options: ViewOptions) -> Viewer:
    """Open the viewer of a result or of a fleet's folder.

    Args:
        result: A GeoTIFF, the STAC item of a result, a product, or the folder of a fleet.
        before: The image before, or None; see `opening.open_scene`.
        options: What is shown first, and the port.

    Raises:
        DecametreError: Something cannot be opened, or the port cannot be used.
    """
    if Path(result).is_dir() and (before is None) and not _is_product(Path(result)):
        fleet = FleetFolder(Path(result))
        site = Site(
            fleet.title,
            lambda number: open_scene(str(fleet.items[number]), bands=options.bands),
            len(fleet.items),
            fleet,
            options.base_map,
        )
    else:
        scene = open_scene(result, before, options.bands)
        site = Site(scene.result.title, lambda number: scene, base_map=options.base_map)
    return Viewer(site, options.port)


def _is_product(folder: Path) -> bool:
    """Whether a folder is a product rather than the folder of a fleet."""
    from decametre.sentinel2.opening import is_safe

    return not (folder / CATALOG).exists() and (is_safe(folder) or (folder / "item.json").is_file())
