"""The run file: what to evolve, judged by which tasks, searched how, run where.

```python
from evomerge.config import RunConfig, load_config

config = load_config("config.yml")
```
"""

from evomerge.config.effort import apply_effort
from evomerge.config.goals import Bound, name_goals, read_bound
from evomerge.config.load import load_config, parse_config, shipped_configs
from evomerge.config.settings import (
    RUN_WIDE,
    DType,
    GenomeSettings,
    RacingSettings,
    RunConfig,
    TaskSettings,
)
from evomerge.config.tournament import (
    Configuration,
    EvolutionSettings,
    MergeSettings,
    ModelDomain,
    ModelReference,
    create_default_config,
)
from evomerge.errors import EvoMergeException

__all__ = [
    "RUN_WIDE",
    "Bound",
    "Configuration",
    "DType",
    "EvoMergeException",
    "EvolutionSettings",
    "GenomeSettings",
    "MergeSettings",
    "ModelDomain",
    "ModelReference",
    "RacingSettings",
    "RunConfig",
    "TaskSettings",
    "apply_effort",
    "create_default_config",
    "load_config",
    "name_goals",
    "parse_config",
    "read_bound",
    "shipped_configs",
]
