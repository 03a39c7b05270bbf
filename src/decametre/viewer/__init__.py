"""A local map of results in the browser: server, tiles, page."""
