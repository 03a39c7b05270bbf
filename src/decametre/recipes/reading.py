"""Reads training recipes from YAML and checks them strictly.

An unknown key, a missing key or a value of the wrong type is an error that names the key and, if it
is unknown, the nearest correct one; nothing is ignored. The recipes of the shipped networks are in
the folder of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from decametre.errors import RecipeError, UnknownNameError
from decametre.landcover.training.recipe import LandCoverRecipe
from decametre.superres.training.recipe import SuperResolutionRecipe, UncertaintyRecipe
from decametre.training.recipe import SCHEDULE_RULES, Section
from decametre.yaml_text import parse_yaml

RECIPE_FOLDER = Path(__file__).parent


AnyRecipe = SuperResolutionRecipe | UncertaintyRecipe | LandCoverRecipe

RECIPES_BY_TASK: dict[str, type[AnyRecipe]] = {
    "super-resolution": SuperResolutionRecipe,
    "uncertainty": UncertaintyRecipe,
    "landcover": LandCoverRecipe,
}
"""Recipe classes by the value of `task`."""

_RECIPE: TypeAdapter[AnyRecipe] = TypeAdapter(Annotated[AnyRecipe, Field(discriminator="task")])


def shipped_recipes() -> dict[str, Path]:
    """The recipes that are part of the package, by name."""
    return {path.stem: path for path in sorted(RECIPE_FOLDER.glob("*.yaml"))}


def find_recipe(source: str) -> tuple[Path, str]:
    """Find a recipe and read its text.

    Args:
        source: The path of a YAML file, or the name of a shipped recipe.

    Returns:
        Path and text.

    Raises:
        UnknownNameError: There is no such recipe; the message names the nearest one.
        RecipeError: The file cannot be read.
    """
    path, shipped = Path(source), shipped_recipes()
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        if source not in shipped:
            raise UnknownNameError("recipe", source, shipped)
        path = shipped[source]
    try:
        return path, path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecipeError(
            f"{source}: no such file; shipped recipes: {', '.join(shipped)}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not readable as YAML ({error})") from error


def read_recipe(
    source: str,
    changes: Mapping[str, Any] | None = None,
    train: Sequence[str] = (),
    validation: Sequence[str] = (),
) -> AnyRecipe:
    """Read and check a recipe.

    Args:
        source: The path of a YAML file, or the name of a shipped recipe.
        changes: Values to replace, by dotted key such as `optimization.steps`.
        train: Replaces the recipe's `data.train` if not empty.
        validation: Replaces the recipe's `data.validation` if not empty.

    Returns:
        The recipe. Relative paths in it are resolved against its folder.

    Raises:
        UnknownNameError: There is no such recipe or key; the message names the nearest one.
        RecipeError: The file is not YAML, or a value is missing or wrong.
    """
    path, text = find_recipe(source)
    try:
        tree = parse_yaml(text)
    except ValueError as error:
        raise RecipeError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: a recipe must be a mapping of keys to values, not {tree!r:.40}")
    changes = dict(changes or {})
    for part, sources in (("train", train), ("validation", validation)):
        if sources:
            changes[f"data.{part}"] = list(sources)
    for key, value in changes.items():
        _set_key(tree, key, value)
    recipe = check_recipe(tree, str(path))
    data = recipe.data.model_copy(
        update={
            part: tuple(_resolve_path(path, source) for source in getattr(recipe.data, part))
            for part in ("train", "validation")
            if f"data.{part}" not in changes
        }
    )
    return recipe.model_copy(update={"data": data})


def check_recipe(tree: Mapping[str, Any], where: str) -> AnyRecipe:
    """Check a recipe.

    Args:
        tree: The recipe as plain values.
        where: Name of its source, for messages.

    Raises:
        UnknownNameError: A key is unknown; the message names the nearest one.
        RecipeError: A value is missing or wrong.
    """
    try:
        return _RECIPE.validate_python(tree)
    except ValidationError as error:
        if "task" in tree and str(tree["task"]) not in RECIPES_BY_TASK:
            raise UnknownNameError(
                f"task in {where}", str(tree["task"]), RECIPES_BY_TASK
            ) from error
        # Report one fault at a time, and unknown keys first.
        fault = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        # Pydantic's location contains the task and the schedule's rule, which are not keys.
        key = [
            str(part) for part in fault["loc"] if part not in (*RECIPES_BY_TASK, *SCHEDULE_RULES)
        ]
        key = key or ["task"] * ("task" not in tree)
        if fault["type"] == "extra_forbidden":
            section = ".".join(key[:-1])
            kind = f"key in {section} of {where}" if section else f"key in {where}"
            raise UnknownNameError(kind, key[-1], _sibling_keys(fault["loc"])) from error
        complete = fault["type"] in ("missing", "foreign", "norm", "bands", "union_tag_not_found")
        seen = "" if complete else f", not {fault['input']!r:.60}"
        reason = fault["msg"].replace("valid tuple", "list")  # the term of YAML
        parts = [where, ".".join(key), reason + seen]
        raise RecipeError(": ".join(part for part in parts if part)) from error


def fill_defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Add default values for the keys that a recipe of an earlier version lacks.

    Returns:
        The complete recipe; an unchanged copy if it is not valid today.
    """
    try:
        return _RECIPE.validate_python(tree).model_dump(mode="json")
    except ValidationError:
        return dict(tree)


def _sibling_keys(loc: tuple[int | str, ...]) -> Iterable[str]:
    """The valid keys of the section that contains an unknown key."""
    task, *parts, _ = map(str, loc)
    section: type[Section] = RECIPES_BY_TASK[task]
    for part in parts:
        if part in SCHEDULE_RULES:
            section = SCHEDULE_RULES[part]
            continue
        kind = section.model_fields[part].annotation
        kinds = [k for k in (kind, *get_args(kind)) if isinstance(k, type)]
        # A schedule has several sections; the next part of the location is its rule.
        section = next((k for k in kinds if issubclass(k, Section)), section)
    return section.model_fields


def _set_key(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key."""
    *sections, last = key.split(".")
    for name in sections:
        branch = tree.setdefault(name, {})
        if not isinstance(branch, dict):
            raise RecipeError(f"{key}: {name} is a value, not a section of the recipe")
        tree = branch
    tree[last] = value


def _resolve_path(recipe: Path, source: str) -> str:
    """Resolve a path against the recipe's folder; URLs and absolute paths do not change."""
    return source if "://" in source else str(recipe.parent / source)
