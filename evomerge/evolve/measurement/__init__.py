"""Models as they are, side by side on the same items: `evomerge eval`. Nothing is searched.

```python
from evomerge.evolve.measurement import measure, write_results

found = measure(["zoo:base", "zoo:sort"], ["tasks.yml"], limit=50)
print(write_results(found)[1]["results"])
```
"""

from evomerge.evolve.measurement.results_file import write_results
from evomerge.evolve.measurement.side_by_side import SideBySide, measure

__all__ = ["SideBySide", "measure", "write_results"]
