"""The console: a static page over the admin API, without a build step; its files are in static/."""
