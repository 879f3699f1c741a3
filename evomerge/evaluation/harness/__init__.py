"""The one door to lm-evaluation-harness (Gao et al., 2023): whatever imports `lm_eval` is in here.

https://zenodo.org/records/12608602. The package itself is an extra; `installation` says so.
"""
