"""A VM with every power that vmsdk gives, made to be asked about them over HTTP."""
