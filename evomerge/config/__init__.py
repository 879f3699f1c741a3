"""The run file: what to evolve, judged by which tasks, searched how, run where.

```python
from evomerge.config import RunConfig, load_config

config = load_config("config.yml")
```
"""

from evomerge.config.effort import apply_effort
from evomerge.config.load import load_config, parse_config, shipped_configs
from evomerge.config.settings import (
    RUN_WIDE,
    DType,
    GenomeSettings,
    RacingSettings,
    RunConfig,
    TaskSettings,
)
from evomerge.errors import EvoMergeException

__all__ = [
    "RUN_WIDE",
    "DType",
    "EvoMergeException",
    "GenomeSettings",
    "RacingSettings",
    "RunConfig",
    "TaskSettings",
    "apply_effort",
    "load_config",
    "parse_config",
    "shipped_configs",
]
