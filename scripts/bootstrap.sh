#!/bin/sh
# Makes .venv with everything the lock names. Needs Python >= 3.11 and nothing else; takes uv where it finds one.
set -eu
cd "$(dirname "$0")/.."

python=
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make setup PYTHON=/path/to/python" >&2; exit 1; }

if command -v uv >/dev/null 2>&1; then
    uv=uv
    uv venv --quiet --allow-existing --python "$python" .venv
else
    "$python" -m venv .venv || { echo "This Python has no venv module; on Debian: apt install python3-venv" >&2; exit 1; }
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
    uv=.venv/bin/uv
fi

echo "Installing from requirements.lock into .venv (about 6 GB on disk, most of it torch) ..."
# Compiled once here: where Python may not write bytecode, each process would spend seconds compiling torch anew.
"$uv" pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.lock
"$uv" pip install --quiet --python .venv/bin/python --no-deps --editable .
touch .venv/.ready
