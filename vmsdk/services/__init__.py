"""Clients of the services that the node offers its VMs."""
