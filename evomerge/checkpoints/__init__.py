"""Models as files: where they are, what they hold, how they are written. No merging here."""
