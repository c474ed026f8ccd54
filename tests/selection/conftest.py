"""Settings of the property tests: no deadlines, since a busy machine is no fault of the code."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("selection", deadline=None, max_examples=50)
hypothesis.settings.load_profile("selection")
