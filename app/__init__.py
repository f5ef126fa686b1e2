"""The service: settings, request and response types, the recommend path, model lifecycle."""
