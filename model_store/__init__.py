"""The contract between offline and app: bundles, registry, id map, keys, codecs, errors."""

import os

# Libraries read these once, when they are loaded, and both packages that load them import this one
# first. onnxruntime would keep a device id and a database under HOME, and look up a host.
for _name in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")
