"""Programs that use Longtail as its users do: by its commands and its HTTP API."""
