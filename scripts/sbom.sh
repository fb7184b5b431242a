#!/usr/bin/env bash
# Installs the wheel of dist/ into a fresh environment with the pinned versions, and lists what is in it as CycloneDX JSON.
# pip takes PyPI's build of torch; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gives it the CPU build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wheel=$(ls dist/*.whl)
python -m venv --clear build/runtime
build/runtime/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$wheel"
version=$(build/runtime/bin/pp1 --version | cut -d' ' -f2)
# pip is in the environment, but not part of the program.
build/runtime/bin/python -m pip uninstall --quiet --yes --disable-pip-version-check pip
# The list names its root by pyproject.toml, and does not ask the package for the version.
sed "s/^dynamic = .*/version = \"$version\"/" pyproject.toml >build/pyproject.toml
cyclonedx-py environment --pyproject build/pyproject.toml --output-reproducible \
    --output-file "${wheel%-py3-none-any.whl}.cdx.json" build/runtime
