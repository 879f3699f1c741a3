"""The zoo's tokenizer: 49 ids, one a character, with the start token put first as in Llama."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

PAD: Final = "<pad>"
START: Final = "<s>"
END: Final = "</s>"
UNKNOWN: Final = "<unk>"
CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789 =+-*:,.?"
VOCABULARY: Final[dict[str, int]] = {
    token: index for index, token in enumerate((PAD, START, END, UNKNOWN, *CHARACTERS))
}


def build_tokenizer(
    longest: int, vocabulary: Mapping[str, int] = VOCABULARY
) -> PreTrainedTokenizerFast:
    """Build a character tokenizer; it pads on the left, ready to generate.

    Args:
        longest: the model's positions, in tokens.
        vocabulary: character -> id; the four special tokens are among them.
    """
    backend = Tokenizer(WordLevel(dict(vocabulary), unk_token=UNKNOWN))
    backend.pre_tokenizer = Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = Fuse()
    backend.post_processor = TemplateProcessing(
        single=f"{START} $A",
        pair=f"{START} $A {START}:1 $B:1",
        special_tokens=[(START, vocabulary[START])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(folder: Path, longest: int, vocabulary: Mapping[str, int] = VOCABULARY) -> None:
    """Write the tokenizer's files, under a class name that transformers 4 knows as well."""
    build_tokenizer(longest, vocabulary).save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
