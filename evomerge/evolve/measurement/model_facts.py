"""What lm-evaluation-harness' results files say of a live model, under their keys."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evomerge.inference.transformers_model import TransformersModel


def describe_model(model: "TransformersModel") -> dict[str, Any]:
    """Return size, arithmetic, special tokens and chat template of a live model.

    `model_dtype` is the dtype it computes in, which is not the stored one where the processor has
    no arithmetic for that.
    """
    module, tokenizer = model.module, model.tokenizer
    tokens = {
        f"tokenizer_{name}_token": [
            getattr(tokenizer, f"{name}_token"),
            str(getattr(tokenizer, f"{name}_token_id")),
        ]
        for name in ("pad", "eos", "bos")
    }
    return {
        "model_num_parameters": sum(parameter.numel() for parameter in module.parameters()),
        "model_dtype": str(next(module.parameters()).dtype),
        **tokens,
        "eot_token_id": tokenizer.eos_token_id,
        "max_length": model.context_limit,
        "chat_template": getattr(tokenizer, "chat_template", None),
    }
