"""The node's side of the plugin protocol, in Python, for developing and testing VMs."""
