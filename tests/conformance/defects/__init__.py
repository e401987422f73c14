"""Broken VMs, one module a contract area: subclasses of `GoodVM`, each named for its defect.

Each says in `found_by` which check must find it.
"""
