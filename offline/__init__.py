"""Everything that needs torch or transformers: from interactions to a published bundle."""

import model_store  # noqa: F401 - first, as it turns telemetry of libraries off
