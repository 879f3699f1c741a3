"""Find, by evolution, the merge of language models that is best at what you care about."""

__version__ = "0.1.0"
