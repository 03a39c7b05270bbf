"""What every training recipe has: its sections, keys, defaults and limits, checked by pydantic.

An unknown key, a missing one or a value of the wrong kind is an error; nothing is ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


def _refuse_bool(value: Any) -> Any:
    """Refuse `yes` and `on`, which YAML takes for true, and pydantic for 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("truth", "Input should be a number (YAML reads yes as true)")
    return value


Integer = Annotated[int, BeforeValidator(_refuse_bool)]
Real = Annotated[float, BeforeValidator(_refuse_bool)]
Decay = Annotated[Real, Field(ge=0, lt=1)]
Fraction = Annotated[Real, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataRecipe(Section):
    """What it is trained on.

    Attributes:
        train: What to train on, by paths; relative ones begin at the recipe's folder.
        validation: What is never trained on; the weights that score best there are kept.
        workers: Processes that draw samples; 0 draws in the training process. The samples are the
            same, so a run may go on with another number.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    workers: Integer = Field(default=0, ge=0)


class Cosine(Section):
    """Linear rise over `warmup` steps to `rate`, then half a cosine down to 0."""

    rule: Literal["cosine"]
    rate: Real = Field(gt=0)
    warmup: Integer = Field(default=200, ge=0)


class ModifiedLinear(Section):
    """The modified linear rule of Zhang et al. (2020), section 3.2.

    With a batch k times `reference_batch`, the first rate is k times `rate`, and it is halved
    every `halve_every` / k steps.
    """

    rule: Literal["modified_linear"]
    rate: Real = Field(default=1e-4, gt=0)
    reference_batch: Integer = Field(gt=0)
    halve_every: Integer = Field(default=64000, gt=0)


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
    reference_batch: Integer = Field(default=256, gt=0)
    warmup: Fraction = 0.05


class LinearWarmup(LinearRule):
    """The linear rule with warm-up and steps of Sedona et al. (2019), section 3.5.

    The defaults are the paper's: warm-up in the first 5 of 100 epochs, a tenth from epochs 30, 60
    and 80 on.

    Attributes:
        milestones: Shares of the steps after which the rate is multiplied by `factor`.
        factor: See `milestones`.
    """

    rule: Literal["linear_warmup"]
    milestones: tuple[Fraction, ...] = (0.3, 0.6, 0.8)
    factor: Real = Field(default=0.1, gt=0, lt=1)


class Polynomial(LinearRule):
    """The linear rule with warm-up, then k times `rate` times (share of steps left) ^ `power`."""

    rule: Literal["polynomial"]
    power: Real = Field(default=2.0, gt=0)


class Plateau(Section):
    """Halved when the validation score has not improved `patience` times running."""

    rule: Literal["plateau"]
    rate: Real = Field(gt=0)
    patience: Integer = Field(default=5, ge=0)


SCHEDULE_RULES: dict[str, type[Section]] = {
    "cosine": Cosine,
    "modified_linear": ModifiedLinear,
    "linear_warmup": LinearWarmup,
    "polynomial": Polynomial,
    "plateau": Plateau,
}
"""The sections that `schedule.rule` chooses from."""

OPTIMIZER_KEYS = {
    "adamw": {"betas", "eps"},
    "sgd": {"momentum", "nesterov"},
    "lars": {"momentum", "nesterov"},
    "lamb": {"betas", "eps"},
}
"""What an optimizer looks at besides the learning rate and `weight_decay`."""


class OptimizationRecipe(Section):
    """How it is trained.

    Attributes:
        batch: Patches a step, over all devices.
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

    batch: Integer = Field(gt=0)
    schedule: Annotated[
        Cosine | ModifiedLinear | LinearWarmup | Polynomial | Plateau, Field(discriminator="rule")
    ]
    optimizer: Literal["adamw", "sgd", "lars", "lamb"] = "adamw"
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: Real = Field(default=1e-8, gt=0)
    momentum: Decay = 0.0
    nesterov: bool = False
    weight_decay: Real = Field(default=0.0, ge=0)
    micro_batch: Integer | None = Field(default=None, gt=0)
    clip: Real | None = Field(default=None, gt=0)
    average: Decay = 0.999

    @field_validator("betas", "eps", "momentum", "nesterov")
    @classmethod
    def _refuse_what_the_optimizer_ignores(cls, value: Any, info: ValidationInfo) -> Any:
        key, optimizer = str(info.field_name), info.data.get("optimizer", "")
        fits = key in OPTIMIZER_KEYS.get(optimizer, {key})
        if not fits and value != cls.model_fields[key].default:
            having = [name for name, keys in OPTIMIZER_KEYS.items() if key in keys]
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


Compression = Literal["none", "fp16", "bf16"]


class DistributionRecipe(Section):
    """How a step is spread over ranks. A run may go on with another distribution.

    Attributes:
        balance: Shares of the global batch: `auto` (by the ranks' measured speeds, corrected while
            they train), `equal`, or a weight for each rank.
        compression: Number format in which gradients travel between ranks: `none` (as they are),
            `fp16` or `bf16`.
    """

    balance: Literal["auto", "equal"] | tuple[Real, ...] = "auto"
    compression: Compression = "none"


MAX_CHECKPOINTS = 10


class Recipe(Section):
    """A training run, whatever the network learns.

    Attributes:
        name: The model's name, such as `native_2x`.
        task: What the network learns.
        network: What is trained.
        data: What it is trained on.
        optimization: How it is trained.
        distribution: See `DistributionRecipe`.
        validate_every: Steps between validations, each of which saves a checkpoint.
        checkpoints: How many are kept, the newest with it.
        seed: Of weights and patches.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    task: str
    network: Section
    data: DataRecipe
    optimization: OptimizationRecipe
    distribution: DistributionRecipe = DistributionRecipe()
    validate_every: Integer = Field(gt=0)
    checkpoints: Integer = Field(default=2, ge=1, le=MAX_CHECKPOINTS)
    seed: Integer = Field(default=0, ge=0, lt=2**63)
