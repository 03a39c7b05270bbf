"""The training engine: loop, gradient, ranks, shares, checkpoints. It knows no domain."""
