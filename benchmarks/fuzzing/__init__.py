"""Mutated inputs for everything that decametre reads."""
