"""Training of land-cover networks: recipe, task, samples and loss."""
