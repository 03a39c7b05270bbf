"""Training: recipes, the loop, and the tasks that it trains."""
