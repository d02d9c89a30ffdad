"""What holds for every test."""

from hypothesis import settings

# How long an example takes says nothing on a shared machine; no test asserts on time.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
