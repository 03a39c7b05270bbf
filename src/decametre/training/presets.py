"""The settings with which the shipped networks were trained."""

from __future__ import annotations

from decametre.training.loop import Settings

PRESETS: dict[str, Settings] = {
    "native_2x": Settings(
        scale=2, network="native", config={"width": 96, "blocks": 6}, steps=6000, batch=32, patch=32
    ),
    "native_6x": Settings(
        scale=6,
        network="native",
        config={"width": 192, "blocks": 5},
        batch=32,
        steps=7000,
        rate=4e-4,
        patch=10,
        min_measured=0.8,
    ),
}
