"""torch's translations to ONNX, looked up once a process instead of at each export.

That is a sixth of the time that the export of a small network takes. They depend on nothing but the
version of the operators, and an export only reads them.
"""

from __future__ import annotations

from functools import cache

from torch.onnx._internal.exporter._registration import ONNXRegistry

ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
