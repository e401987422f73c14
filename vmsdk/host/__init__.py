"""The node's side of the plugin protocol, in Python: to develop VMs against, and to test them
with.
"""
