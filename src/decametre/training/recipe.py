"""Recipes: everything that a training run is made of, read from YAML and checked strictly.

An unknown key, a missing one or a value of the wrong kind is an error that names the place and the
nearest right key; nothing is ignored. The recipes of the shipped networks lie in `recipes/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from decametre.errors import RecipeError, UnknownNameError

SHIPPED = Path(__file__).parent / "recipes"

MOST_CHECKPOINTS = 10

Kernel = Literal["dsen2", "mtf"]


def _no_truth(value: Any) -> Any:
    """Refuse `yes` and `on`, which YAML takes for true, and pydantic for 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("truth", "Input should be a number (YAML reads yes as true)")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Real = Annotated[float, BeforeValidator(_no_truth)]
Decay = Annotated[Real, Field(ge=0, lt=1)]
Share = Annotated[Real, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkRecipe(Section):
    """What is trained.

    Attributes:
        architecture: Name in `models.registry.NETWORKS`.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        config: Arguments of the architecture.
        projection: Kernel of the consistency layer behind the network; none without.
    """

    architecture: str
    scale: Literal[2, 6]
    config: dict[str, Any] = Field(default_factory=dict)
    projection: Kernel | None = None


class DataRecipe(Section):
    """What it is trained on.

    Attributes:
        train: Products to train on: paths, patterns such as `scenes/*/item.json`, or URLs;
            relative ones begin at the recipe's folder.
        validation: Products never trained on; the weights that score best there are kept.
        kernels: Degradation kernels. Patches are drawn from all of them in equal parts; the first
            one degrades the validation products.
        patch: Edge of a patch in pixels of the degraded coarsest grid (40 m or 360 m).
        gain: Reflectance is multiplied by exp(u), u uniform in [-gain, gain], patch by patch.
        mixing: Bands are mixed with others of their GSD, up to this share; see `sampling.mixed`.
        min_measured: See `wald.MIN_MEASURED`; less lets more of torn scenes teach.
        window: Edge, in 10 m pixels, of the windows into which a product is cut for training.
        windows: At most so many windows are taken from a product, spread at random; the rest of
            it is not read. Memory is 20 bytes for each 10 m pixel that is taken and each kernel at
            scale 2, and 2 bytes at scale 6.
        workers: Processes that draw patches; 0 draws in the training process. The patches are the
            same, so a run may go on with another number.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    kernels: tuple[Kernel, ...] = Field(min_length=1)
    patch: Whole = Field(gt=0)
    gain: Real = Field(default=0.3, ge=0, le=1)
    mixing: Real = Field(default=0.0, ge=0, le=1)
    min_measured: Real = Field(default=0.9, gt=0, le=1)
    window: Whole = Field(default=1380, gt=0, multiple_of=60)
    windows: Whole = Field(default=8, gt=0)
    workers: Whole = Field(default=0, ge=0)


class Cosine(Section):
    """Linear rise over `warmup` steps to `rate`, then half a cosine down to 0."""

    rule: Literal["cosine"]
    rate: Real = Field(gt=0)
    warmup: Whole = Field(default=200, ge=0)


class ModifiedLinear(Section):
    """The modified linear rule of Zhang et al. (2020), section 3.2.

    With a batch k times `reference_batch`, the first rate is k times `rate`, and it is halved
    every `halve_every` / k steps.
    """

    rule: Literal["modified_linear"]
    rate: Real = Field(default=1e-4, gt=0)
    reference_batch: Whole = Field(gt=0)
    halve_every: Whole = Field(default=64000, gt=0)


class LinearRule(Section):
    """The linear rule (Goyal et al. 2017): with a batch k times the reference, the rate is k times.

    Warm-up and what follows are counted in shares of the run's steps, so they are the same epochs
    whatever the batch.

    Attributes:
        rate: With the reference batch.
        reference_batch: Patches a step; k is `batch` / `reference_batch`.
        warmup: Share of the steps in which the rate rises linearly from 0 to k times `rate`.
    """

    rate: Real = Field(default=0.1, gt=0)
    reference_batch: Whole = Field(default=256, gt=0)
    warmup: Share = 0.05


class LinearWarmup(LinearRule):
    """The linear rule with warm-up and steps of Sedona et al. (2019), section 3.5.

    The defaults are the paper's: warm-up in the first 5 of 100 epochs, a tenth from epochs 30, 60
    and 80 on.

    Attributes:
        milestones: Shares of the steps after which the rate is multiplied by `factor`.
        factor: See `milestones`.
    """

    rule: Literal["linear_warmup"]
    milestones: tuple[Share, ...] = (0.3, 0.6, 0.8)
    factor: Real = Field(default=0.1, gt=0, lt=1)


class Polynomial(LinearRule):
    """The linear rule with warm-up, then k times `rate` times (share of steps left) ^ `power`."""

    rule: Literal["polynomial"]
    power: Real = Field(default=2.0, gt=0)


class Plateau(Section):
    """Halved when the validation score has not improved `patience` times running."""

    rule: Literal["plateau"]
    rate: Real = Field(gt=0)
    patience: Whole = Field(default=5, ge=0)


RULES: dict[str, type[Section]] = {
    "cosine": Cosine,
    "modified_linear": ModifiedLinear,
    "linear_warmup": LinearWarmup,
    "polynomial": Polynomial,
    "plateau": Plateau,
}
"""The sections that `schedule.rule` chooses from."""

KEYS_OF_OPTIMIZERS = {
    "adamw": {"betas", "eps"},
    "sgd": {"momentum", "nesterov"},
    "lars": {"momentum", "nesterov"},
    "lamb": {"betas", "eps"},
}
"""What an optimizer looks at besides the learning rate and `weight_decay`."""


class OptimizationRecipe(Section):
    """How it is trained.

    Attributes:
        steps: Optimizer steps.
        batch: Patches a step, over all devices.
        loss: `l1`, or `charbonnier`: sqrt(e^2 + (1e-3)^2), which is L1 with a round tip.
        schedule: The learning rate.
        optimizer: `adamw`; `sgd`; or for large batches `lars` (You et al. 2017) and `lamb` (You et
            al. 2020): SGD and Adam whose step in each layer is in proportion to its weights' norm.
        betas: Of `adamw` and `lamb`: decay a step of the moments.
        eps: Of `adamw` and `lamb`.
        momentum: Of `sgd` and `lars`.
        nesterov: Of `sgd` and `lars`: the momentum is Nesterov's.
        weight_decay: On weights, and neither on biases nor norms. With `adamw` decoupled from the
            gradient; with `sgd` it is the factor of an L2 penalty; with `lars` and `lamb` the trust
            ratio looks at it.
        micro_batch: A rank takes so many samples at once, and adds up the gradients of its share:
            for networks or batches that memory does not hold. Its whole share without.
        clip: Gradients of a greater norm are scaled down to it; none without.
        average: Decay a step of the moving average of the weights, which is what is validated and
            kept; 0 keeps the weights themselves.
    """

    steps: Whole = Field(gt=0)
    batch: Whole = Field(gt=0)
    schedule: Annotated[
        Cosine | ModifiedLinear | LinearWarmup | Polynomial | Plateau, Field(discriminator="rule")
    ]
    loss: Literal["l1", "charbonnier"] = "l1"
    optimizer: Literal["adamw", "sgd", "lars", "lamb"] = "adamw"
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: Real = Field(default=1e-8, gt=0)
    momentum: Decay = 0.0
    nesterov: bool = False
    weight_decay: Real = Field(default=0.0, ge=0)
    micro_batch: Whole | None = Field(default=None, gt=0)
    clip: Real | None = Field(default=None, gt=0)
    average: Decay = 0.999

    @field_validator("betas", "eps", "momentum", "nesterov")
    @classmethod
    def _refuse_what_the_optimizer_ignores(cls, value: Any, info: ValidationInfo) -> Any:
        key, optimizer = str(info.field_name), info.data.get("optimizer", "")
        fits = key in KEYS_OF_OPTIMIZERS.get(optimizer, {key})
        if not fits and value != cls.model_fields[key].default:
            having = [name for name, keys in KEYS_OF_OPTIMIZERS.items() if key in keys]
            raise PydanticCustomError(
                "foreign", f"{optimizer} has none, but {' and '.join(having)} have"
            )
        return value

    @field_validator("nesterov")
    @classmethod
    def _refuse_nesterov_without_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("momentum"):
            raise PydanticCustomError("nesterov", "Input should be false without momentum")
        return value


Compression = Literal["none", "fp16", "bf16", "powersgd"]


class DistributionRecipe(Section):
    """How a step is spread over ranks. A run may go on with another distribution.

    Attributes:
        balance: Shares of the global batch: `auto` (by the ranks' measured speeds, corrected while
            they train), `equal`, or a weight for each rank.
        compression: How gradients travel between ranks: `none`, `fp16`, `bf16`, or `powersgd`
            (Vogels et al. 2019).
    """

    balance: Literal["auto", "equal"] | tuple[Real, ...] = "auto"
    compression: Compression = "none"


class Recipe(Section):
    """A training run.

    Attributes:
        name: The model's name, such as `native_2x`.
        task: What the network learns.
        network: See `NetworkRecipe`.
        data: See `DataRecipe`.
        optimization: See `OptimizationRecipe`.
        distribution: See `DistributionRecipe`.
        validate_every: Steps between validations, each of which saves a checkpoint.
        checkpoints: How many are kept, the newest with it.
        seed: Of weights and patches.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    task: Literal["super-resolution"]
    network: NetworkRecipe
    data: DataRecipe
    optimization: OptimizationRecipe
    distribution: DistributionRecipe = DistributionRecipe()
    validate_every: Whole = Field(gt=0)
    checkpoints: Whole = Field(default=2, ge=1, le=MOST_CHECKPOINTS)
    seed: Whole = Field(default=0, ge=0, lt=2**63)


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def find_recipe(source: str) -> tuple[Path, str]:
    """Where a recipe lies, and its text.

    Args:
        source: The path of a YAML file, or the name of a shipped recipe.

    Raises:
        UnknownNameError: There is no such recipe; names the nearest.
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
) -> Recipe:
    """Read and check a recipe.

    Args:
        source: The path of a YAML file, or the name of a shipped recipe.
        changes: Values to replace, by dotted key such as `optimization.steps`.
        train: In place of the recipe's `data.train`, where there are any.
        validation: In place of the recipe's `data.validation`, where there are any.

    Returns:
        The recipe; relative product paths of a file are resolved against its folder.

    Raises:
        UnknownNameError: There is no such recipe or key; names the nearest.
        RecipeError: It is not YAML, or a value is missing or wrong.
    """
    path, text = find_recipe(source)
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, this is {tree!r:.40}")
    changes = dict(changes or {})
    for part, sources in (("train", train), ("validation", validation)):
        if sources:
            changes[f"data.{part}"] = list(sources)
    for key, value in changes.items():
        _replace(tree, key, value)
    recipe = check_recipe(tree, str(path))
    data = recipe.data.model_copy(
        update={
            part: tuple(_beside(path, source) for source in getattr(recipe.data, part))
            for part in ("train", "validation")
            if f"data.{part}" not in changes
        }
    )
    return recipe.model_copy(update={"data": data})


def check_recipe(tree: Mapping[str, Any], where: str) -> Recipe:
    """Check a recipe.

    Args:
        tree: As read from YAML.
        where: The file it came from, for messages.

    Raises:
        UnknownNameError: A key is unknown; names the nearest.
        RecipeError: A value is missing or wrong.
    """
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        # The first fault is enough: the next run shows the next.
        fault = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        # A schedule's rule is part of the place for pydantic, not for the reader of the file.
        place = [str(part) for part in fault["loc"] if part not in RULES]
        if fault["type"] == "extra_forbidden":
            section = ".".join(place[:-1])
            kind = f"key in {section} of {where}" if section else f"key in {where}"
            raise UnknownNameError(kind, place[-1], _keys_beside(fault["loc"])) from error
        seen = "" if fault["type"] in ("missing", "foreign") else f", not {fault['input']!r:.60}"
        said = fault["msg"].replace("valid tuple", "list")  # what YAML calls it
        raise RecipeError(f"{where}: {'.'.join(place)}: {said}{seen}") from error


def completed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as an earlier version saved it, with the keys that it lacks at their defaults.

    What cannot be read as a recipe comes back as it is.
    """
    try:
        return Recipe.model_validate(tree).model_dump(mode="json")
    except ValidationError:
        return dict(tree)


def _keys_beside(loc: tuple[int | str, ...]) -> Iterable[str]:
    """The right keys where an unknown one stands."""
    sections: dict[str, type[Section]] = {
        "network": NetworkRecipe,
        "data": DataRecipe,
        "optimization": OptimizationRecipe,
        "distribution": DistributionRecipe,
        **RULES,
    }
    place = map(str, reversed(loc[:-1]))
    section = next((sections[part] for part in place if part in sections), Recipe)
    return section.model_fields


def _replace(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a value by its dotted key."""
    *sections, last = key.split(".")
    for name in sections:
        branch = tree.setdefault(name, {})
        if not isinstance(branch, dict):
            raise RecipeError(f"{key}: {name} is a value, not a section of the recipe")
        tree = branch
    tree[last] = value


def _beside(recipe: Path, source: str) -> str:
    """A path relative to the recipe's folder; URLs and absolute paths as they are."""
    return source if "://" in source else str(recipe.parent / source)
