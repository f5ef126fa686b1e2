"""The serving benchmark: what the service makes of the machine, section by section."""
