"""A native-grid trunk that adapts to the blur of a product.

How much detail a band lacks depends on its blur. A network that does not receive it has to work for
every blur at once. This one receives the measured gain of each coarse band at the Nyquist frequency
of its grid. From these numbers, a small network computes a factor and a summand for every channel
of the first convolution of every residual block (FiLM: Perez et al. 2018, arXiv 1709.07871). They
are constant for a product, so `adapted` includes them in the weights, and sharpening costs the
same as with a `NativeTrunk`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.superres.degradation.measured_mtf import measured_gains
from decametre.superres.models.native import NativeTrunk, ResidualBlock
from decametre.superres.pixels.scenes import Scene

GAIN_CENTRE, GAIN_SPREAD = 0.3, 0.15
"""Gains are centred and divided by these numbers before the first layer."""


class AdaptiveTrunk(NativeTrunk):
    """Super-resolution of the coarsest bands by a trunk that adapts to their blur.

    Args:
        bands_in: As for `NativeTrunk`; the four 10 m bands must be among them.
        width: Channels of the trunk.
        blocks: Number of residual blocks.
        hidden: Channels of the hidden layer that processes the gains.
        typical_gains: Typical gain of each of the coarsest bands, see `measured_gains`.
        gain: Factor on the reflectance, see `NativeTrunk`.

    Raises:
        ValueError: A size is invalid.
    """

    def __init__(
        self,
        bands_in: Mapping[int, int],
        width: int,
        blocks: int,
        hidden: int,
        typical_gains: Sequence[float],
        gain: float = 5.0,
    ) -> None:
        super().__init__(bands_in, width, blocks, gain)
        bands = bands_in[self.coarsest]
        if hidden < 1 or len(typical_gains) != bands:
            raise ValueError(
                f"hidden {hidden} must be positive, and typical_gains must have {bands} values, "
                f"not {len(typical_gains)}"
            )
        self.bands_in = dict(bands_in)
        self.typical_gains = tuple(map(float, typical_gains))
        self.modulation = nn.Sequential(
            nn.Linear(bands, hidden), nn.ReLU(), nn.Linear(hidden, 2 * width * blocks)
        )
        nn.init.zeros_(self.modulation[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.modulation[-1].bias)  # type: ignore[arg-type]

    def forward(
        self,
        reflectance: Mapping[int, Tensor],
        measured: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Tensor:
        """Bring the coarsest bands to 10 m.

        Args:
            reflectance: See `NativeTrunk.forward`.
            measured: Ignored.
            gains: (batch, bands of the coarsest GSD), as from `measured_gains`. By default they are
                measured in the images of the batch together.

        Returns:
            See `NativeTrunk.forward`.
        """
        if gains is None:
            gains = self.measure(reflectance).expand(len(reflectance[self.coarsest]), -1)
        modulation = self._modulation(gains)

        def trunk(features: Tensor) -> Tensor:
            for index, block in enumerate(self.trunk):
                assert isinstance(block, ResidualBlock)
                factor, summand = modulation[:, index, :, :, None, None].unbind(dim=1)
                change = block.conv2(F.relu(block.conv1(features) * factor + summand))
                features = features + change
            return features

        return self._sharpened(reflectance, trunk)

    def measure(self, reflectance: Mapping[int, Tensor]) -> Tensor:
        """The gains of the coarsest bands in a batch of images.

        Args:
            reflectance: See `forward`.

        Returns:
            (bands of the coarsest GSD); `typical_gains` if the images are too small.
        """
        images = {gsd: reflectance[gsd].detach().float().cpu() for gsd in self.gsds}
        scenes = []
        for index in range(len(images[self.coarsest])):
            image = {gsd: batch[index] for gsd, batch in images.items()}
            valid = {gsd: torch.ones_like(x, dtype=torch.bool) for gsd, x in image.items()}
            scenes.append(Scene("", image, valid))
        return self.gains_of(scenes)

    def gains_of(self, scenes: Sequence[Scene]) -> Tensor:
        """The gains of the coarsest bands in parts of one product.

        Args:
            scenes: Scenes with this network's input bands.

        Returns:
            (bands of the coarsest GSD); `typical_gains` if the scenes are too small.
        """
        return measured_gains(scenes, self.coarsest, self.typical_gains)[0]

    def adapted(self, gains: Tensor) -> NativeTrunk:
        """The network for one product, with weights that include the effect of the gains.

        Args:
            gains: (bands of the coarsest GSD).
        """
        width = self.head.out_channels
        network = NativeTrunk(self.bands_in, width, self.blocks_count, self.gain)
        weights = {
            name: tensor.clone()
            for name, tensor in self.state_dict().items()
            if not name.startswith("modulation.")
        }
        with torch.no_grad():
            modulation = self._modulation(gains[None])[0]
            for index, (factor, summand) in enumerate(modulation):
                layer = f"trunk.{index}.conv1"
                weights[f"{layer}.weight"] *= factor[:, None, None, None]
                weights[f"{layer}.bias"] *= factor
                weights[f"{layer}.bias"] += summand
        network.load_state_dict(weights)
        return network.to(self.head.weight.device).eval()

    def typical(self) -> NativeTrunk:
        """The network for the typical gains."""
        return self.adapted(torch.tensor(self.typical_gains))

    def _modulation(self, gains: Tensor) -> Tensor:
        """Factors and summands, (batch, blocks, 2, width)."""
        with torch.autocast(gains.device.type, enabled=False):
            scaled = (gains.to(self.head.weight.device).float() - GAIN_CENTRE) / GAIN_SPREAD
            found: Tensor = self.modulation(scaled).unflatten(1, (self.blocks_count, 2, -1))
        return found + torch.tensor([1.0, 0.0], device=found.device)[:, None]


def adapted_to_image(network: nn.Module, reflectance: Mapping[int, Tensor]) -> nn.Module:
    """The network for the blur of one image; a network that does not adapt is returned as it is.

    Args:
        network: Any network of the registry.
        reflectance: For each GSD, (batch, bands, rows, columns).
    """
    if not isinstance(network, AdaptiveTrunk):
        return network
    return network.adapted(network.measure(reflectance))
