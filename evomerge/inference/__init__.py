"""Runs live models: log-likelihoods and greedy text."""
