"""Mutations of bytes, of trees of plain values (JSON, YAML), and of XML.

All of them draw from a `random.Random`, so that a number reproduces an input.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any
from xml.etree import ElementTree

NUMBERS = (0, 1, -1, 2, 255, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**32, 2**63, 10**30)
FLOATS = (0.5, -0.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "",
    " ",
    "\0",
    "../../../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "/dev/zero",
    "/vsizip//etc/passwd",
    "/vsicurl/http://127.0.0.1:9/x.tif",
    "http://127.0.0.1:9/B02.tif",
    "https://[::1",
    "s3://",
    "NaN",
    "1e999",
    "-1",
    "2147483648",
    "é" * 300,
    "a" * 5000,
    "{}{}{}",
    "%s%n%d",
    "\ud800",
    "<x>&amp;",
)
MARKS = (b"\0" * 16, b"\xff" * 8, b"\xff\x4f\xff\x51", b"PK\5\6", b"<!DOCTYPE x [", b"<a>" * 400)


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """One to eight mutations: flips, insertions, deletions, copies, numbers, truncation."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(data) + 1)
        length = random.choice((1, 1, 2, 4, 8, 64, 512))
        match random.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1 if at < len(data):
                data[at] = random.randrange(256)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = random.randbytes(length)
            case 4:
                data[at:at] = data[at : at + length] * random.choice((1, 2, 50))
            case 5:
                size = random.choice((1, 2, 4, 8))
                number = random.choice(NUMBERS) % 256**size
                data[at : at + size] = number.to_bytes(size, random.choice(("big", "little")))
            case 6:
                data[at : at + length] = random.choice(MARKS)
            case 7 if random.random() < 0.2:
                del data[at:]
    return bytes(data)


def any_value(random: Random, depth: int = 0) -> Any:
    """A plain value: often an unusual one, sometimes a tree or a very deep one."""
    match random.randrange(9):
        case 0:
            return random.choice((None, True, False))
        case 1 | 2:
            return random.choice(NUMBERS)
        case 3:
            return random.choice(FLOATS)
        case 4 | 5 | 6:
            return random.choice(TEXTS)
        case 7 if depth < 3:
            return [any_value(random, depth + 1) for _ in range(random.choice((0, 1, 3)))]
        case 8 if depth < 3:
            return {
                random.choice(TEXTS): any_value(random, depth + 1)
                for _ in range(random.choice((0, 1, 3)))
            }
    value: Any = {}
    for _ in range(random.choice((3, 100))):
        value = [value]
    return value


def mutate_tree(tree: Any, random: Random) -> Any:
    """A copy of a tree in which one to four values or keys were replaced, removed or moved."""
    tree = copy.deepcopy(tree)
    for _ in range(random.choice((1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            return any_value(random)
        owner, key = random.choice(places)
        match random.randrange(6):
            case 0:
                del owner[key]
            case 1 if isinstance(owner, dict):
                owner[random.choice(TEXTS)] = owner.pop(key)
            case 2:
                other, place = random.choice(places)
                owner[key] = copy.deepcopy(other[place]) if _has(other, place) else None
            case 3 if isinstance(owner, list):
                owner *= random.choice((2, 200))
            case 4 if isinstance(owner[key], int | float):
                owner[key] = random.choice((*NUMBERS, *FLOATS, -owner[key], owner[key] * 1e6))
            case _:
                owner[key] = any_value(random)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in a tree, as its owner and its key or index."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    if isinstance(tree, dict | list):
        for key, value in items:
            yield tree, key
            if isinstance(value, dict | list):
                yield from _places(value)


def _has(owner: Any, key: Any) -> bool:
    return key in owner if isinstance(owner, dict) else key < len(owner)


def mutate_xml(content: bytes, random: Random) -> bytes:
    """XML with one to four elements changed, removed, repeated or nested; or any bytes."""
    if random.random() < 0.3:
        return mutate_bytes(content, random)
    root = ElementTree.fromstring(content)  # our own
    for _ in range(random.choice((1, 1, 2, 4))):
        elements = list(root.iter())
        element = random.choice(elements)
        match random.randrange(7):
            case 0:
                element.text = _xml_text(random)
            case 1:
                element.attrib.clear()
            case 2 if element.attrib:
                element.set(random.choice(list(element.attrib)), _xml_text(random))
            case 3 if len(element):
                element.remove(random.choice(list(element)))
            case 4 if len(element):
                element.extend([random.choice(list(element))] * random.choice((1, 20)))
            case 5:
                element.tag = random.choice((element.tag, random.choice(elements).tag, "x"))
            case 6:
                for _ in range(random.choice((1, 100))):
                    element.append(element := ElementTree.Element(element.tag, element.attrib))
    return ElementTree.tostring(root)


def _xml_text(random: Random) -> str:
    """Text that XML can hold."""
    value = random.choice((*TEXTS, *map(str, NUMBERS), *map(str, FLOATS)))
    return value.replace("\0", "").replace("\ud800", "")
