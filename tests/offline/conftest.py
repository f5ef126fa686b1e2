import tests.offline.translations  # noqa: F401
