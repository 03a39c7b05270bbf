"""Paths of the files that sharpening writes."""

from __future__ import annotations

from pathlib import Path

from decametre.io.outputs import OutputFiles


class SharpenedFiles(OutputFiles):
    """The files of a sharpened product."""

    @property
    def quality(self) -> Path:
        """The quality card."""
        return self.next_to_image("quality.json")

    @property
    def quicklook(self) -> Path:
        """The before/after picture, if there is one."""
        return self.next_to_image("quicklook.png")

    @property
    def companions(self) -> tuple[Path, ...]:
        """All but the image."""
        return self.item, self.quality, self.quicklook
