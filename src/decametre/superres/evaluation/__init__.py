"""How good a model is: scores where truth exists, indices where it does not."""
