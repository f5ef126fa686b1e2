"""The contract between offline and app: bundles, registry, id map, keys, codecs, errors."""
