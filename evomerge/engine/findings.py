"""Problems of a recipe with the models it names, collected so that all are told at once."""

from evomerge.errors import Problem, RecipeError

MOST_LINES = 12


class Findings:
    """Problems found while planning.

    Args:
        subject: what is planned, for the error's first line.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.problems: list[Problem] = []

    def wrong(self, path: str, message: str) -> None:
        """Note a problem at a YAML path ('' where it is of the models)."""
        self.problems.append(Problem(path, message))

    def stop(self) -> None:
        """Raise RecipeError if there are problems."""
        distinct = list(dict.fromkeys(self.problems))
        if len(distinct) > MOST_LINES:
            rest = Problem("", f"… and {len(distinct) - MOST_LINES} more of the kind")
            distinct = [*distinct[:MOST_LINES], rest]
        if distinct:
            raise RecipeError(self.subject, distinct)
