"""Settings of all tests."""

import os

from hypothesis import settings

# In CI a red run has to be a change's fault, so it draws the same examples
# each time. Elsewhere new ones are drawn, and find more as time goes by.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
