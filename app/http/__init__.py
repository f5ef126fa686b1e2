"""HTTP: the server protocol, middleware, routes, request and response types, OpenAPI."""
