"""The zoo: a base and four specialists of 786 thousand parameters, with their tasks' items."""
