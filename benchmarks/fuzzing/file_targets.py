"""Targets that are no products: stores, models, checkpoints, recipes, cluster files, journals.

See `targets.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml
from safetensors.torch import save

from benchmarks.fuzzing.mutations import mutate_bytes, mutate_tree
from decametre.fleet.history import read_history
from decametre.landcover.models.card import (
    LandCoverCard,
    build_land_cover,
    load_land_cover,
    save_land_cover,
)
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter
from decametre.model_folder import CARD_NAME, WEIGHTS_NAME
from decametre.recipes.reading import read_recipe
from decametre.superres.models.card import Card
from decametre.superres.models.registry import build, load_folder, save_model
from tests.fleet.journals import JournalWriter
from tests.landcover.patches.synthetic_patches import HEADER, synthetic_patch

Attempt = Callable[[Random], None]
"""Makes one mutated input and reads it."""

# Stores, models, checkpoints --------------------------------------------------------------------


def store_target(folder: Path) -> Attempt:
    """Mutate the bytes of an HDF5 store of patches, mostly near its structures."""
    path = folder / "patches.h5"
    patches = [synthetic_patch(f"patch_{number}") for number in range(3)]
    with PatchWriter(path, HEADER, len(patches)) as writer:
        writer.append(patches)

    def read(path: Path) -> None:
        store = PatchStore(path)
        store.patches(range(min(len(store), 3)))

    content = path.read_bytes()
    names = [content.find(name) for name in (b"nomenclature", b"class_names", b"OHDR", b"TREE")]

    def attempt(random: Random) -> None:
        at = random.choice([0, *(max(0, name - 200) for name in names)])
        end = min(len(content), at + random.choice((200, 2000, len(content))))
        path.write_bytes(content[:at] + mutate_bytes(content[at:end], random) + content[end:])
        read(path)

    return attempt


def _card_of_superres() -> Card:
    return Card(
        "small",
        "native",
        {"width": 8, "blocks": 1},
        {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B11")},
        margin=0,
    )


def model_target(folder: Path) -> Attempt:
    """Mutate the card or the weights of a super-resolution model."""
    card = _card_of_superres()
    save_model(folder, card, build(card))
    return _mutated_model(folder, load_folder)


def land_cover_target(folder: Path) -> Attempt:
    """Mutate the card or the weights of a land-cover model."""
    card = LandCoverCard(
        "small",
        "test_resnet",
        {},
        {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B11")},
        norm="merged",
        sharpened=False,
        nomenclature="mine",
        classes=("a", "b"),
    )
    save_land_cover(folder, card, build_land_cover(card))
    return _mutated_model(folder, load_land_cover)


def _mutated_model(folder: Path, load: Callable[[Path], Any]) -> Attempt:
    """The card as a tree, or the weights as bytes, with the checksum that fits them."""
    item = json.loads((folder / CARD_NAME).read_text())
    weights = (folder / WEIGHTS_NAME).read_bytes()

    def attempt(random: Random) -> None:
        card, content = item, weights
        if random.random() < 0.7:
            card = mutate_tree(item, random)
        else:
            end = random.choice((400, len(weights)))
            content = mutate_bytes(weights[:end], random) + weights[end:]
            card = json.loads(json.dumps(item))
            checksum = f"1220{hashlib.sha256(content).hexdigest()}"
            card["assets"]["weights"]["file:checksum"] = checksum
        (folder / CARD_NAME).write_text(json.dumps(card))
        (folder / WEIGHTS_NAME).write_bytes(content)
        load(folder)

    return attempt


def checkpoint_target(folder: Path) -> Attempt:
    """Mutate the state or the bytes of a checkpoint."""
    from decametre.training.checkpoint import checksum_of, read_checkpoint

    tensors = {"network.a": torch.zeros(3, 4), "optimizer.0.step": torch.tensor(1.0)}
    state = {
        "recipe": {"task": "sharpen"},
        "beside": {},
        "step": 3,
        "scores": [0.5],
        "kept_from": 1,
    }
    path = folder / "checkpoint.safetensors"

    def attempt(random: Random) -> None:
        metadata = dict(state)
        if random.random() < 0.5:
            metadata = mutate_tree(state, random)
        if isinstance(metadata, dict) and random.random() < 0.7:
            metadata["checksum"] = checksum_of(metadata, tensors)
        content = save(tensors, metadata={"state": json.dumps(metadata)})
        if random.random() < 0.5:
            content = mutate_bytes(content, random)
        path.write_bytes(content)
        read_checkpoint(path)

    return attempt


# Texts ------------------------------------------------------------------------------------------


def yaml_file_target(text: str, read: Callable[[Path], Any]) -> Callable[[Path], Attempt]:
    """Mutate the tree or the text of a YAML file."""

    def prepare(folder: Path) -> Attempt:
        path, tree = folder / "file.yaml", yaml.safe_load(text)

        def attempt(random: Random) -> None:
            if random.random() < 0.6:
                content = json.dumps(mutate_tree(tree, random)).encode()  # YAML, too
            else:
                content = mutate_bytes(text.encode(), random)
            path.write_bytes(content)
            read(path)

        return attempt

    return prepare


CLUSTER = """system: slurm
workers: {minimum: 1, maximum: 4}
side_by_side: 2
options: {cores: 4, memory: 16GiB, walltime: '04:00:00', queue: batch, job_extra_directives: [--x]}
"""


def _recipe_text() -> str:
    import decametre.recipes

    return (Path(decametre.recipes.__file__).parent / "native_2x.yaml").read_text()


def recipe_target(folder: Path) -> Attempt:
    """Mutate a training recipe."""
    return yaml_file_target(_recipe_text(), lambda path: read_recipe(str(path)))(folder)


def journal_target(folder: Path) -> Attempt:
    """Mutate events or bytes of a journal, and read it as `fleet status` does."""
    journal = JournalWriter(folder)
    journal.run(3)
    journal.worker("a")
    journal.done("p", worker="a")
    journal.failed("q")
    journal.ended()
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]

    def attempt(random: Random) -> None:
        if random.random() < 0.7:
            events = [mutate_tree(e, random) if random.random() < 0.4 else e for e in lines]
            text = "".join(json.dumps(event) + "\n" for event in events).encode()
        else:
            text = mutate_bytes("".join(json.dumps(e) + "\n" for e in lines).encode(), random)
        journal.path.write_bytes(text)
        history = read_history(folder, keep_products=True)
        history.latest.to_dict()
        history.latest.counts()

    return attempt
