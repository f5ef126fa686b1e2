"""The only package that speaks to the store: connection, user features, events, journal."""
