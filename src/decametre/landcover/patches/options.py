"""The options of merging stores of patches."""

from __future__ import annotations

from decametre.options import Options, Overwrite


class MergeOptions(Options):
    """How stores are merged."""

    consolidate: bool = False
    """Copy all pixels to the output, which then does not need the shards any more."""
    overwrite: Overwrite = False
