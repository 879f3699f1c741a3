"""The conformance suite of searchers: what a search run relies on, whoever wrote the searcher.

```python
from evomerge.testing.searchers import check_beats_random, check_searcher

check_searcher(MySearcher)
for kind in MySearcher.kinds:
    check_beats_random(MySearcher, kind)
```
"""

from evomerge.testing.searchers.contest import check_beats_random
from evomerge.testing.searchers.promises import CHECKS, Make
from evomerge.testing.searchers.spaces import SPACES

__all__ = ["SPACES", "Make", "check_beats_random", "check_searcher"]


def check_searcher(make: Make) -> None:
    """Put a searcher through everything a run may do to it, in spaces of every kind.

    Args:
        make: called as make(space, seed=seed); a registered searcher class is one.

    Raises:
        AssertionError: saying which promise is broken.
    """
    for space in SPACES.values():
        for check in CHECKS:
            check(make, space)
