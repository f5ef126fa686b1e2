"""The service: answers POST /recommend from a bundle and the store."""
