"""Scores of multi-label classifiers, and the thresholds from which a class is predicted."""
