"""Two alphabets as two languages: a family on which merges carry a skill from one to the other."""
