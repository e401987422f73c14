"""Finds out why a node can't start a plugin: looks at files, starts plugins, and explains."""
