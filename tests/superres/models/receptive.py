"""The receptive field of a network, measured by gradients."""

import torch


def images(size, counts, batch=1):
    """Random reflectance on every grid, `size` pixels square on the coarsest."""
    coarsest = max(counts)
    return {
        gsd: torch.rand(batch, n, size * coarsest // gsd, size * coarsest // gsd)
        for gsd, n in counts.items()
    }


def randomize(network, std=0.3):
    """Weights that let every pixel of the receptive field through."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)


def reach_of(network, counts, size, at, dtype=torch.float32):
    """How far, in coarse pixels, the result on coarse pixel (at, at) looks in any direction."""
    coarsest = max(counts)
    factor = coarsest // 10
    inputs = {g: x.to(dtype).requires_grad_() for g, x in images(size, counts).items()}
    cell = slice(at * factor, (at + 1) * factor)
    network(inputs)[..., cell, cell].sum().backward()
    found = 0
    for gsd, image in inputs.items():
        seen = image.grad.abs().sum(dim=(0, 1)) > 0
        for axis in (0, 1):
            places = torch.nonzero(seen.any(dim=axis)).ravel() // (coarsest // gsd) - at
            found = max(found, -int(places.min()), int(places.max()))
    return found


def assert_every_weight_has_a_gradient(network, counts):
    """In autocast, with an output in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        found = network(images(4, counts, batch=2))
    assert found.dtype == torch.float32
    found.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name
