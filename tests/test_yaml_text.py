"""YAML that others wrote."""

import pytest

from decametre.yaml_text import parse_yaml


def bomb(levels):
    """Aliases that stand for 9 ** levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines)


def test_values_and_aliases():
    assert parse_yaml("a: &x [1, 2.5, no]\nb: *x") == {
        "a": [1, 2.5, False],
        "b": [1, 2.5, False],
    }
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "line 2: the key a is repeated"),
        ("{", "not YAML: "),
        ("a: !!python/object/apply:os.system [ls]", "not YAML: could not determine a constructor"),
        ("[" * 5000, "nest"),
        (bomb(12), "more than 100,000 values"),
        ("a: &a [*a]", "more than 100,000 values"),
        ("a" * (1 << 21), "larger than 1 MB"),
        ("? [a, b]\n: 1", "not YAML: "),
    ],
)
def test_what_is_refused_in_one_line(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
