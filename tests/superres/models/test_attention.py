import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from decametre.superres.models.attention import WindowAttention, check_whole_windows


def attention(width=8, key_width=3, window=4):
    torch.manual_seed(0)
    layer = WindowAttention(width, key_width, window)
    torch.nn.init.constant_(layer.gamma, 0.7)
    return layer


def by_the_book(layer, x_chw):
    """SAGAN, equations 1 to 3, on one window: a position after the other."""
    f, g, h = (conv(x_chw[None])[0].flatten(1) for conv in (layer.key, layer.query, layer.value))
    out = torch.zeros_like(h)
    for j in range(h.shape[1]):
        beta = torch.softmax(f.T @ g[:, j], dim=0)
        out[:, j] = h @ beta
    return x_chw + layer.gamma * out.reshape(x_chw.shape)


def test_it_is_sagan_s_layer_in_each_window():
    layer, image = attention(), torch.randn(2, 8, 12, 8)
    found = layer(image)
    for row in range(0, 12, 4):
        for col in range(0, 8, 4):
            at = (..., slice(row, row + 4), slice(col, col + 4))
            for item in range(2):
                expected = by_the_book(layer, image[item][at])
                torch.testing.assert_close(found[item][at], expected)


def test_each_head_is_a_separate_attention():
    torch.manual_seed(2)
    layer, image = WindowAttention(8, 4, 4, heads=2), torch.randn(1, 8, 4, 8)
    torch.nn.init.constant_(layer.gamma, 1.0)
    for head in range(2):
        alone = WindowAttention(8, 2, 4)
        torch.nn.init.constant_(alone.gamma, 1.0)
        keys, values = slice(2 * head, 2 * head + 2), slice(4 * head, 4 * head + 4)
        with torch.no_grad():
            alone.key.weight.copy_(layer.key.weight[keys])
            alone.query.weight.copy_(layer.query.weight[keys])
            alone.query.bias.copy_(layer.query.bias[keys])
            alone.value.weight.copy_(layer.value.weight)
            alone.value.bias.copy_(layer.value.bias)
        torch.testing.assert_close(layer(image)[:, values], alone(image)[:, values])


def test_directions_do_not_change_with_brightness():
    torch.manual_seed(3)
    layer, image = WindowAttention(8, 8, 4, 2, bias=False, cosine=True), torch.randn(1, 8, 4, 4)
    torch.nn.init.constant_(layer.gamma, 1.0)
    torch.testing.assert_close(layer(image * 1024), layer(image) * 1024)
    key, query, value = (f(image).reshape(2, 4, 16) for f in (layer.key, layer.query, layer.value))
    cosines = torch.cosine_similarity(key[:, :, :, None], query[:, :, None], dim=1)
    expected = image + (value @ (10 * cosines).softmax(dim=1)).reshape(image.shape)
    torch.testing.assert_close(layer(image), expected)


def test_it_starts_as_identity():
    image = torch.randn(1, 8, 4, 8)
    torch.testing.assert_close(WindowAttention(8, 2, 4)(image), image, rtol=0, atol=0)


def test_a_window_does_not_depend_on_others():
    layer, image = attention(), torch.randn(1, 8, 8, 8)
    changed = image.clone()
    changed[..., 4:, 4:] += 1
    difference = (layer(changed) - layer(image)).abs().detach()
    assert float(difference[..., :4, :].max()) == float(difference[..., :4].max()) == 0
    assert float(difference.max()) > 0.5


def test_no_matrix_of_positions_is_allocated():
    """The kernel that makes none accepts the call, forward and backward."""
    layer, image = attention(16, 2, 8), torch.randn(1, 16, 8, 16, requires_grad=True)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):
        layer(image).sum().backward()
    assert float(layer.query.weight.grad.abs().sum()) > 0


def test_invalid_sizes_are_errors():
    with pytest.raises(ValueError, match=r"window of at least 1 \(got 0\)"):
        WindowAttention(8, 2, 0)
    with pytest.raises(ValueError, match=r"key width of 1 to 8 \(got 9\)"):
        WindowAttention(8, 9, 4)
    with pytest.raises(ValueError, match="3 heads do not divide 8 channels and 6 of keys"):
        WindowAttention(8, 6, 4, heads=3)
    with pytest.raises(ValueError, match=r"30 x 32 pixels, .*window of 16"):
        check_whole_windows(torch.zeros(1, 1, 30, 32), 16)
    check_whole_windows(torch.zeros(1, 1, 48, 16), 16)


def test_an_exported_layer_computes_all_rows_of_windows_together(monkeypatch):
    layer, image = attention(), torch.randn(2, 8, 12, 8)
    expected = layer(image)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(layer(image), expected)
