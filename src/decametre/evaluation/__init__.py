"""How good a model is: scores where truth exists, indices where it does not.

What training needs stands here; the rest imports torchmetrics and matplotlib, which take seconds.
"""

from decametre.evaluation.degraded import (
    SceneScore,
    mean_ratio,
    predict,
    predict_bicubic,
    rmse,
    score,
)

__all__ = ["SceneScore", "mean_ratio", "predict", "predict_bicubic", "rmse", "score"]
