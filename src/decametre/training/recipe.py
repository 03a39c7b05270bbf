"""Sections, keys, defaults and limits that all training recipes share, checked by pydantic.

An unknown key, a missing key or a value of the wrong type is an error; nothing is ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


def _refuse_bool(value: Any) -> Any:
    """Refuse truth values: YAML reads `yes` and `on` as true, and pydantic would read true as 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("truth", "Input should be a number (YAML reads yes as true)")
    return value


Integer = Annotated[int, BeforeValidator(_refuse_bool)]
Real = Annotated[float, BeforeValidator(_refuse_bool)]
Decay = Annotated[Real, Field(ge=0, lt=1)]
Fraction = Annotated[Real, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A section of a recipe. Unknown keys are errors, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataRecipe(Section):
    """The training and validation data.

    Attributes:
        train: Paths of the training data; relative ones are relative to the recipe's folder.
        validation: Paths of the validation data. The weights with the best score there are kept.
        workers: Processes that prepare samples; 0 prepares them in the training process. The
            samples are the same, so a run may be resumed with another number.
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

    Warm-up and decay are given in fractions of the run's steps, so they take the same epochs with
    any batch.

    Attributes:
        rate: Learning rate of the reference batch.
        reference_batch: Samples a step; k is `batch` / `reference_batch`.
        warmup: Fraction of the steps in which the rate rises linearly from 0 to k times `rate`.
    """

    rate: Real = Field(default=0.1, gt=0)
    reference_batch: Integer = Field(default=256, gt=0)
    warmup: Fraction = 0.05


class LinearWarmup(LinearRule):
    """The linear rule with warm-up and steps of Sedona et al. (2019), section 3.5.

    The defaults are those of the paper: warm-up in the first 5 of 100 epochs, a tenth of the rate
    after epochs 30, 60 and 80.

    Attributes:
        milestones: Fractions of the steps after which the rate is multiplied by `factor`.
        factor: See `milestones`.
    """

    rule: Literal["linear_warmup"]
    milestones: tuple[Fraction, ...] = (0.3, 0.6, 0.8)
    factor: Real = Field(default=0.1, gt=0, lt=1)


class Polynomial(LinearRule):
    """The linear rule with warm-up, then k x `rate` x (remaining fraction of steps) ^ `power`."""

    rule: Literal["polynomial"]
    power: Real = Field(default=2.0, gt=0)


class Plateau(Section):
    """Halved when the score has failed to improve more than `patience` times in a row."""

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
"""The sections that `schedule.rule` selects from."""

OPTIMIZER_KEYS = {
    "adamw": {"betas", "eps"},
    "sgd": {"momentum", "nesterov"},
    "lars": {"momentum", "nesterov"},
    "lamb": {"betas", "eps"},
}
"""Keys that an optimizer uses in addition to the schedule and `weight_decay`."""


class OptimizationRecipe(Section):
    """Optimizer, learning rate and batch size.

    Attributes:
        batch: Samples a step, over all devices.
        schedule: Rule of the learning rate.
        optimizer: `adamw`; `sgd`; or for large batches `lars` (You et al. 2017) and `lamb` (You et
            al. 2020): SGD and Adam whose step in each layer is proportional to the norm of its
            weights.
        betas: For `adamw` and `lamb`: decay of the moments in each step.
        eps: For `adamw` and `lamb`: added to the denominator.
        momentum: For `sgd` and `lars`.
        nesterov: For `sgd` and `lars`: use Nesterov momentum.
        weight_decay: Applied to weights, not to biases and norms: decoupled from the gradient in
            `adamw`, as an L2 penalty in `sgd`, inside the trust ratio in `lars` and `lamb`.
        micro_batch: Samples that a rank computes at a time, adding up the gradients of its share,
            for networks or batches that do not fit into memory. By default a rank computes its
            complete share at once.
        clip: Gradients of a larger norm are scaled down to this norm; no clipping by default.
        average: Decay in each step of the moving average of the weights, which is validated and
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
                "foreign", f"{optimizer} does not use this key; {' and '.join(having)} do"
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
    """How a step is distributed over ranks. A run may be resumed with another distribution.

    Attributes:
        balance: Shares of the global batch: `auto` (by the measured speeds of the ranks, corrected
            during training), `equal`, or a weight for each rank.
        compression: Number format in which gradients travel between ranks: `none` (as they are),
            `fp16` or `bf16`.
        on_failure: What happens if a rank ends or hangs. `stop`: the others end. `restart`: all
            ranks restart from the newest checkpoint. `continue`: the others continue from the
            weights in memory, and the rank joins again when it has restarted.
    """

    balance: Literal["auto", "equal"] | tuple[Real, ...] = "auto"
    compression: Compression = "none"
    on_failure: Literal["stop", "restart", "continue"] = "stop"


MAX_CHECKPOINTS = 10


class Recipe(Section):
    """A training run of any task.

    Attributes:
        name: Name of the model.
        task: Name of the task.
        network: The network to train.
        data: The training and validation data.
        optimization: Optimizer, learning rate and batch size.
        distribution: See `DistributionRecipe`.
        validate_every: Steps between validations, each of which saves a checkpoint.
        checkpoints: How many checkpoints are kept, including the newest.
        seed: Seed of initial weights and samples.
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
