"""Evaluation of land-cover models on a store of labelled patches."""
