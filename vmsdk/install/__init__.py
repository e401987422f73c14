"""Writes, lists and removes the files in a plugin directory that start VMs."""
