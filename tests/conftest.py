"""One profile for every property test: no deadline, because the machines that run them are shared."""

from hypothesis import settings

settings.register_profile("ava", deadline=None, print_blob=True)
settings.load_profile("ava")
