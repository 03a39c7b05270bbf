"""Implementation of the public functions; users call them as `decametre.NAME`.

Each module is one verb. It is imported when the verb is first used, as torch and GDAL take seconds
to import and few verbs need both.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import decametre

    if name not in decametre.PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(decametre, name)
