"""Which version answers, and how one is loaded and followed."""
