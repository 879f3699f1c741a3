"""Pure functions on tensors: torch and numpy in, torch out. Knows nothing of models or files."""
