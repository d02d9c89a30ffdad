"""What holds for every test."""

import os

from hypothesis import settings

# Read when torch is imported, here and in every process a test starts. Tests run two at a time on two cores; threads
# that wait for each other by spinning would take those cores from the other half of the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes says nothing on a shared machine; no test asserts on time.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
