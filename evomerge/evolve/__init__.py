"""Where the pillars meet: a run, from its file to its verdict.

```python
from evomerge.evolve import evolve

result = evolve("config.yml")
print(result.verdict.sentence, result.best)
```
"""

from evomerge.evolve.run import RunResult, evolve, find_run, resume

__all__ = ["RunResult", "evolve", "find_run", "resume"]
