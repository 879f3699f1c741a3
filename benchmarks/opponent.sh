#!/usr/bin/env bash
# Build a virtual environment with mergekit 0.1.5, apart from ours:
#   benchmarks/opponent.sh [FOLDER=.venv-mergekit]
# PYTHON chooses the interpreter, TORCH_INDEX another index for torch alone (a CPU build, say).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
venv="${1:-.venv-mergekit}"
requirements="$here/mergekit-requirements.txt"
if [ -f "$venv/installed" ] && [ "$venv/installed" -nt "$requirements" ]; then
    exit 0
fi
"${PYTHON:-python3}" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
pinned=(--constraint "$here/../constraints.txt")
"${pip[@]}" "${pinned[@]}" torch ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
"${pip[@]}" "${pinned[@]}" transformers pydantic click
"${pip[@]}" --no-deps --requirement "$requirements"
"$venv/bin/mergekit-yaml" --help >/dev/null
touch "$venv/installed"
