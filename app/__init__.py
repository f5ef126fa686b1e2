"""The service: settings, request and response types, the recommend path, model lifecycle."""

import model_store  # noqa: F401 - first, as it turns telemetry of libraries off
