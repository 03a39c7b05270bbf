"""Reading YAML that others wrote: no repeated keys, no objects, limits on size and depth."""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARACTERS = 1 << 20
"""Size limit. A recipe has 2,000 characters."""

MAX_VALUES = 100_000
"""Most values. Aliases count as often as they are used: nested ones can stand for billions."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader is 20 times as fast, and limits the depth."""


class _UniqueKeyLoader(_BASE):  # type: ignore[misc]
    """YAML without repeated keys, of which PyYAML would use the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise ValueError(f"line {line}: the key {key.value} is repeated")
                seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def parse_yaml(text: str) -> Any:
    """The plain values of a YAML text.

    Raises:
        ValueError: It is not YAML, repeats a key, or exceeds a limit; one line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"larger than {MAX_CHARACTERS >> 20} MB")
    try:
        tree = yaml.load(text, _UniqueKeyLoader)  # a safe loader
        if _count_values(tree, {}) > MAX_VALUES:
            raise ValueError(
                f"it has more than {MAX_VALUES:,} values, counting an alias each time it is used"
            )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (yaml.YAMLError, AttributeError, TypeError) as error:  # the latter of odd keys and tags
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from error
    return tree


def _count_values(tree: Any, counted: dict[int, int]) -> int:
    """Number of values, those behind an alias each time that it is used.

    Args:
        tree: The values.
        counted: Numbers of lists and mappings that were counted already, by identity.
    """
    if not isinstance(tree, dict | list | set | tuple):
        return 1
    if id(tree) not in counted:
        counted[id(tree)] = MAX_VALUES + 1  # if it contains itself
        children = [*tree, *tree.values()] if isinstance(tree, dict) else tree
        counted[id(tree)] = 1 + sum(_count_values(child, counted) for child in children)
    return counted[id(tree)]
