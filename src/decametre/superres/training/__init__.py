"""Training of super-resolution networks: the recipe and the task."""
