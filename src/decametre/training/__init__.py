"""The training engine: loop, gradient, ranks, batch sharing, checkpoints. Independent of tasks."""
