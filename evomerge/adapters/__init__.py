"""LoRA adapters as files: applied to a model's tensors, merged into one, extracted from a model."""
